"""What is said when a run is over: its scores, what it took, what is odd about them, and what to do next."""

import shlex
from typing import Any

from rich import box
from rich.table import Table

from fakd.console import console, is_main_process, say
from fakd.evaluation.ensembles import teacher_names
from fakd.training.config import RunConfig
from fakd.training.distill_config import DistillConfig
from fakd.training.metrics_file import read_metrics
from fakd.training.run_folder import RunFolder
from fakd.training.verdicts import run_verdicts


def say_outcome(config: RunConfig, folder: RunFolder, results: dict[str, Any]) -> None:
    """Print a short table, the verdicts, and two commands that make sense now.

    Args:
        config: of the run.
        folder: of the run, which is written.
        results: what its results.json holds.
    """
    if not is_main_process():
        return
    console.print(_scores(config, results))
    seconds, share = results["wall_seconds"], results["evaluation_share"]
    memory = "" if results["peak_memory"] is None else f"; {results['peak_memory'] / 1e9:.1f} GB at most"
    say(
        f"took      {_duration(seconds)} for {results['steps']} steps of {results['seconds_per_step']:.3g} s, "
        f"{100 * share:.0f}% of it evaluating{memory}"
    )
    say(f"written to {folder.root}")
    teachers = teacher_names(config.teacher) if isinstance(config, DistillConfig) else ()
    losses = [loss for _, loss in read_metrics(folder.root).get("loss/total", ())]
    verdicts = run_verdicts(results, losses, teachers)
    for verdict in verdicts.values():
        say(f"verdict   {verdict}", style="yellow")
    say_next(*next_commands(config, str(folder.root), failed="nothing" in verdicts))


def next_commands(config: RunConfig, run: str, *, failed: bool) -> list[str]:
    """The two command lines that most users type after a run.

    Args:
        config: of the run.
        run: its folder.
        failed: whether it learnt nothing.

    Example:
        >>> from fakd.training import TrainConfig
        >>> next_commands(TrainConfig(), "runs/a", failed=False)
        ['fakd distill --teacher runs/a', 'fakd predict runs/a photos/ masks/ --overlay']
    """
    run = shlex.quote(run)
    root = [] if config.data_root is None else [shlex.quote(str(config.data_root))]
    if failed:
        shown = f"fakd data show {config.dataset} {' '.join(root)}".rstrip()
        return ([shown] if root or not config.spec.needs_root else []) + [f"fakd report {run}"]
    predict = f"fakd predict {run} photos/ masks/ --overlay"
    if isinstance(config, DistillConfig):
        return [predict, f"fakd export {run} student.onnx"]
    data = [f"--dataset {config.dataset}"] * bool(root) + [f"--data-root {path}" for path in root]
    return [" ".join([f"fakd distill --teacher {run}", *data]), predict]


def say_next(*commands: str) -> None:
    """Print what to type next."""
    for place, command in enumerate(commands):
        say(f"{'next:' if place == 0 else '':<10}{command}")


def _scores(config: RunConfig, results: dict[str, Any]) -> Table:
    """Mean scores in percent: of the network that learnt, and of its teacher."""
    name = "mIoU" if config.score == "mIoU" else "agreement"
    table = Table("", name, "mAcc", "aAcc", "parameters", box=box.SIMPLE_HEAD, pad_edge=False, collapse_padding=True)
    for column in table.columns[1:]:
        column.justify, column.no_wrap = "right", True
    rows = {"teacher": results.get("teacher"), config.trained_network: results}
    for row, scores in rows.items():
        if scores is not None:
            shown = [f"{scores[key]:.2f}" for key in ("mIoU", "mAcc", "aAcc")]
            table.add_row(row, *shown, f"{scores['parameters']:,}" if "parameters" in scores else "")
    return table


def _duration(seconds: float) -> str:
    minutes, hours = seconds / 60, seconds / 3600
    return f"{seconds:.0f} s" if minutes < 2 else f"{minutes:.0f} min" if hours < 2 else f"{hours:.1f} h"
