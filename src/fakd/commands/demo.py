"""The main job on drawn street scenes, from nothing to a report."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from PIL import Image

from fakd.analysis.figures.demo import draw_curves, draw_predictions, typical_scenes
from fakd.analysis.groups import Group, teacher_group
from fakd.analysis.runs import Run, read_run
from fakd.analysis.tables import markdown_lines, rich_lines, score_lines
from fakd.commands.report import ReportConfig, report
from fakd.console import console, say
from fakd.data import get_dataset
from fakd.files.deleting import delete_files
from fakd.models import create_model, load_model, open_model, save_model
from fakd.models.shipped import SHIPPED
from fakd.options import Output
from fakd.training import DistillConfig, TrainConfig, distill, train
from fakd.training.run_folder import RunFolder

_STUDENTS = {"student alone": "none", "CWD": "cwd", "FAKD": "fakd"}
"""Row of the table -> method, which is also the name of the run's folder."""
_FILES = ("table.md", "curves.png", "predictions.png", "report.html", "toy-scenes.safetensors")
_PICTURES = 8
"""Images to go on with, for `fakd predict`."""
_DATA = "toy-scenes"
"""The data set, and the teacher for it that comes with the package."""

TEACHER: dict[str, Any] = {
    "dataset": _DATA,
    "network": SHIPPED[_DATA],
    "backbone_weights": "imagenet",
    "max_steps": 1500,
    "batch_size": 8,
    "learning_rate": 0.02,
}
"""How that teacher was trained, as its card says too."""
STUDENT: dict[str, Any] = {
    "dataset": _DATA,
    "student": "fcn-concat/efficientnet_lite0",
    "backbone_weights": "imagenet",
    "batch_size": 8,
    "learning_rate": 0.02,
}
"""How every student is trained, whatever the method."""


@dataclass(kw_only=True)
class DemoConfig:
    """Distil a trained teacher on drawn street scenes; ends with a table and a report, after less than four minutes."""

    output: Output = Path("demo")
    """Folder to write to; an interrupted demo goes on where it was."""
    train_teacher: bool = False
    """Train the teacher first, by the recipe of the one that comes with the package, and use that one; it takes about
    ten minutes more."""
    student_steps: int = 150
    """Length of each student's training, in optimizer steps."""
    seed: int = 0
    """Seed of everything that is trained."""
    overwrite: bool = False
    """Delete an earlier demo first; what else is there stays."""


def demo(config: DemoConfig) -> dict[str, Any] | None:
    """Train the student alone, with CWD and with FAKD; write table.md, curves.png, predictions.png and report.html.

    Returns:
        The results of the teacher and of each run by its name in the table, or None if interrupted.

    Raises:
        FileExistsError: the folder holds something that is no demo, or one under another teacher.
        ConnectionError: ImageNet weights are not installed, and could not be downloaded.
    """
    output = Path(config.output)
    occupied = _check_folder(output, config)
    networks = [STUDENT["student"], *[TEACHER["network"]] * config.train_teacher]
    for network in networks:  # before any work: missing weights should show at once
        create_model(network, num_classes=2, backbone_weights="imagenet")
    if occupied and config.overwrite:
        _delete(output)
    common: dict[str, Any] = {"workers": 0, "seed": config.seed, "resume": occupied}
    teacher = _DATA
    if config.train_teacher:
        say("\nteacher", style="bold")
        teacher = str(output / "teacher")
        if train(TrainConfig(**TEACHER, **common, output=output / "teacher")) is None:
            return None
        trained, notes = load_model(teacher)
        save_model(trained, output / f"{_DATA}.safetensors", notes, half=True)  # in the form that the package has
    for number, (title, method) in enumerate(_STUDENTS.items(), start=1):
        say(f"\n{number}/{len(_STUDENTS)} {title}", style="bold")
        steps: dict[str, Any] = {"max_steps": config.student_steps, "eval_every": max(1, config.student_steps // 3)}
        run = DistillConfig(**STUDENT, **common, **steps, teacher=teacher, method=method, output=output / method)
        if distill(run) is None:
            return None
    runs = {title: read_run(output / method) for title, method in _STUDENTS.items()}
    _write(teacher, runs, output)
    return {"teacher": runs["student alone"].results["teacher"], **{title: run.results for title, run in runs.items()}}


def _check_folder(output: Path, config: DemoConfig) -> bool:
    """Whether an earlier demo lies in the folder.

    Raises:
        FileExistsError: what lies there is none, or it cannot go on under a teacher that is yet to be trained.
    """
    if not output.exists() or (output.is_dir() and not any(output.iterdir())):
        return False
    begun = [name for name in ("teacher", *_STUDENTS.values()) if RunFolder(output / name).begun]
    if not begun:
        raise FileExistsError(f"{output} exists and holds no demo. Choose another folder with --output.")
    if config.train_teacher and "teacher" not in begun and not config.overwrite:
        raise FileExistsError(
            f"{output} holds a demo under the package's own teacher, which --train-teacher would replace. Choose "
            "another folder with --output, or start again with --overwrite."
        )
    return True


def _delete(output: Path) -> None:
    """Delete an earlier demo, and nothing else that lies there."""
    for name in ("teacher", *_STUDENTS.values()):
        if (run := RunFolder(output / name)).begun:
            run.delete()
    delete_files(output, [*_FILES, *(f"images/{_picture(number)}" for number in range(_PICTURES))])


def _picture(number: int) -> str:
    return f"{number:04d}.png"


def _write(teacher: str, runs: dict[str, Run], output: Path) -> None:
    spec, alone = get_dataset(_DATA), runs["student alone"]
    models = {"teacher": open_model(teacher)[0], **{title: load_model(run.folder)[0] for title, run in runs.items()}}
    costs = {"parameters": sum(parameter.numel() for parameter in models["teacher"].parameters())}
    taught_by = teacher_group("teacher", TEACHER["network"], alone, costs)
    groups = [taught_by, *(Group(title, {}, [run]) for title, run in runs.items())]
    table = score_lines(groups)
    (output / "table.md").write_text(markdown_lines(table))
    scores = {group.label: float(group.runs[0].results["mIoU"]) for group in groups}
    draw_curves(runs, scores["teacher"], output / "curves.png")
    source = spec.open(None, "val")
    chosen, chosen_how = typical_scenes(models["student alone"], models["FAKD"], source, spec)
    draw_predictions(models, scores, chosen, spec, output / "predictions.png", title=chosen_how)
    (output / "images").mkdir(exist_ok=True)
    for number in range(_PICTURES):
        picture = Image.fromarray(source[number].image.permute(1, 2, 0).numpy())
        picture.save(output / "images" / _picture(number))
    title = f"Distillation of {_DATA}"
    report(ReportConfig([str(output)], output=output / "report.html", title=title, overwrite=True))
    console.print()
    console.print(rich_lines(table))
    say(f"open      {output / 'report.html'} in a browser")
    say(f"pictures  {output / 'predictions.png'}, {output / 'curves.png'}; table {output / 'table.md'}")
    say(f"go on     fakd predict {output / 'fakd'} {output / 'images'} masks --overlay")
    for title in ("CWD", "FAKD"):
        gain = scores[title] - scores["student alone"]
        say(f"{title} gains {gain:+.1f} points on the student alone; one seed", style="bold")
