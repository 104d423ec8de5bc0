"""The main job on drawn street scenes, from nothing to a report."""

import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from PIL import Image

from fakd.analysis.figures.demo import draw_curves, draw_predictions
from fakd.analysis.groups import Group
from fakd.analysis.runs import Run, read_run
from fakd.analysis.tables import markdown_lines, rich_lines, score_lines
from fakd.commands.report import ReportConfig, report
from fakd.console import console, say
from fakd.data import get_dataset
from fakd.models import load_model
from fakd.options import Output
from fakd.training import DistillConfig, TrainConfig, distill, train
from fakd.training.run_folder import RunFolder

_STUDENTS = {"student alone": "none", "CWD": "cwd", "FAKD": "fakd"}
"""Row of the table -> method."""

# Two of timm's smallest encoders, with random weights: nothing is downloaded, and two cores train them in minutes.
_TEACHER, _TEACHER_CHANNELS = "pspnet/test_resnet", 128
_STUDENT, _STUDENT_CHANNELS = "pspnet/test_efficientnet", 64


@dataclass(kw_only=True)
class DemoConfig:
    """Train a teacher and distil it on drawn street scenes; ends with a table and a report, after some minutes."""

    output: Output = Path("demo")
    """Folder to write to; an interrupted demo goes on where it was."""
    teacher_steps: int = 600
    """Length of the teacher's training, in optimizer steps."""
    student_steps: int = 200
    """Length of each student's training, in optimizer steps."""
    seed: int = 0
    """Seed of everything."""
    overwrite: bool = False
    """Delete an earlier demo first."""


def demo(config: DemoConfig) -> dict[str, Any] | None:
    """Train a teacher, the student alone, CWD and FAKD; write table.md, curves.png, predictions.png and report.html.

    Returns:
        The results of each run by its name in the table, or None if interrupted.

    Raises:
        FileExistsError: the folder holds something that is no demo.
    """
    output = Path(config.output)
    occupied = output.exists() and (not output.is_dir() or any(output.iterdir()))
    if occupied and not RunFolder(output / "teacher").begun:
        raise FileExistsError(f"{output} exists and holds no demo. Choose another folder with --output.")
    if output.exists() and config.overwrite:
        shutil.rmtree(output)
    common: dict[str, Any] = {
        "dataset": "toy-scenes",
        "batch_size": 8,
        "learning_rate": 0.04,
        "workers": 0,
        "seed": config.seed,
        "resume": occupied and not config.overwrite,
    }
    say("\n1/4 teacher", style="bold")
    teacher = train(
        TrainConfig(
            **common,
            network=_TEACHER,
            head_channels=_TEACHER_CHANNELS,
            max_steps=config.teacher_steps,
            eval_every=max(1, config.teacher_steps // 2),
            output=output / "teacher",
        )
    )
    if teacher is None:
        return None
    for number, (title, method) in enumerate(_STUDENTS.items(), start=2):
        say(f"\n{number}/4 {title}", style="bold")
        finished = distill(
            DistillConfig(
                **common,
                teacher=str(output / "teacher"),
                student=_STUDENT,
                head_channels=_STUDENT_CHANNELS,
                method=method,
                max_steps=config.student_steps,
                eval_every=max(1, config.student_steps // 5),
                output=output / method,
            )
        )
        if finished is None:
            return None
    runs = {"teacher": read_run(output / "teacher")}
    runs |= {title: read_run(output / method) for title, method in _STUDENTS.items()}
    _write(runs, output)
    return {title: run.results for title, run in runs.items()}


def _write(runs: dict[str, Run], output: Path) -> None:
    spec = get_dataset("toy-scenes")
    table = score_lines([Group(title, {}, [run]) for title, run in runs.items()])
    (output / "table.md").write_text(markdown_lines(table))
    draw_curves(runs, output / "curves.png")
    models = {title: load_model(run.folder)[0] for title, run in runs.items()}
    source = spec.open(None, "val")
    samples = [source[i] for i in range(8)]
    draw_predictions(models, samples[:4], spec, spec.base_size, output / "predictions.png")
    (output / "images").mkdir(exist_ok=True)
    for sample in samples:
        picture = Image.fromarray(sample.image.permute(1, 2, 0).numpy())
        picture.save(output / "images" / f"{Path(sample.name).name}.png")
    title = "Distillation of toy-scenes"
    report(ReportConfig([str(output)], output=output / "report.html", search=100, title=title, overwrite=True))
    console.print()
    console.print(rich_lines(table))
    say("One short run each: this shows how things work, not which method is better.")
    say(f"open      {output / 'report.html'} in a browser")
    say(f"pictures  {output / 'predictions.png'}, {output / 'curves.png'}; table {output / 'table.md'}")
    say(f"go on     fakd predict {output / 'fakd'} {output / 'images'} masks --overlay")
