"""A grid of runs from its options to its tables."""

import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from fakd.analysis.runs import read_run
from fakd.analysis.statistics import MARKED
from fakd.analysis.tables import latex_lines, rich_lines
from fakd.analysis.verdicts import group_verdicts
from fakd.console import console, is_main_process, say
from fakd.experiments.grid import GridConfig
from fakd.experiments.inputs import check_inputs
from fakd.experiments.plan import Planned, run_or_plan
from fakd.experiments.planned_run import PlannedRun
from fakd.experiments.results_page import results_page
from fakd.experiments.results_table import GridResults, csv_text, group_results, plain, short_lines, table_lines
from fakd.experiments.run_queue import failed_runs
from fakd.experiments.step_time import delete_short_runs, seconds_per_step, steps_within
from fakd.files.atomic import write_json, write_text
from fakd.training.outcome import say_next
from fakd.training.teacher import load_teacher


def run_grid(config: GridConfig, command: str, title: str, stem: str) -> dict[str, Any] | None:
    """Train or load the teacher, run what is not finished yet, print the table and write it.

    Args:
        config: what to run.
        command: name of the command, which the page shows.
        title: heading of the page.
        stem: name of the tables' files below the output, without suffix.

    Returns:
        What the JSON file holds; nothing where a plan was written. None if interrupted.

    Raises:
        FailedRunsError: runs failed; the tables are written all the same.
        ValueError: the teacher or the data do not fit, or a folder holds runs with other options.
        FileExistsError: a folder holds something that is not to be gone on with.
    """
    try:
        results = _results(config, command)
    except Planned:
        return {}
    if results is None or not is_main_process():  # of several tasks the first one tells
        return None if results is None else {}
    _write(results, title, config.root / stem)
    if results.failures:
        total = len(config.seed_list) * len(config.arms())
        raise failed_runs(results.failures, total, "The table holds the others")
    return plain(results)


def _results(config: GridConfig, command: str) -> GridResults | None:
    """Whatever must run, one thing after the other, and what came of it; None if interrupted.

    Raises:
        Planned: something is left to do, and its plan is written.
    """
    arms = config.arms()
    teacher = config.plan_teacher()
    own = [] if teacher is None else [teacher]
    everything = [*own, *config.plan_runs(arms, {}).values()]
    if config.overwrite:
        _require_runs(everything)
    to_do = config.overwrite or not all(one.finished for one in everything)
    if to_do and is_main_process():
        check_inputs(config, [one.config for one in everything])
    if config.overwrite:
        _delete(everything, config.root)
    failures = run_or_plan(own, config, config.plan) if to_do else []
    if failures is None:
        return None
    if failures:
        raise failed_runs(failures, 1, "The students need it")
    if to_do and teacher is not None:
        load_teacher(config.teacher_path, config)
    steps: Mapping[str, int] = {}
    if config.minutes is not None:
        seconds = seconds_per_step(config, arms)
        if seconds is None:
            return None
        if isinstance(seconds, list):
            raise failed_runs(seconds, len(arms), "Without them nobody knows how many steps fit into the minutes")
        steps = steps_within(config.minutes, seconds)
        say("steps     " + ", ".join(f"{name} {count}" for name, count in steps.items()))
    planned = config.plan_runs(arms, steps)
    say(f"{len(planned)} runs below {config.root}", style="bold")
    failures = run_or_plan(list(planned.values()), config, config.plan)
    if failures is None:
        return None
    runs = {key: read_run(one.folder.root) for key, one in planned.items() if one.finished}
    if not runs:
        raise failed_runs(failures, len(planned), "There is nothing to compare")
    return group_results(config, arms, runs, failures, config.command_line(command))


def _require_runs(planned: Sequence[PlannedRun]) -> None:
    """Refuse folders that hold files and no run, where runs are to be made anew."""
    for one in planned:
        if any(one.folder.root.glob("*")) and not one.folder.begun:
            raise FileExistsError(
                f"{one.folder.root} holds files but no run; it is not deleted. Choose another --output."
            )


def _delete(planned: Sequence[PlannedRun], root: Path) -> None:
    """Delete the runs that are to be made anew, and what was measured for them; nothing else."""
    for one in planned:
        one.folder.delete()
        one.log.unlink(missing_ok=True)
    (root / "budget.json").unlink(missing_ok=True)
    delete_short_runs(root)


def _write(results: GridResults, title: str, stem: Path) -> None:
    write_text(stem.with_suffix(".md"), results_page(results, title))
    write_text(stem.with_suffix(".csv"), csv_text(results))
    write_text(stem.with_suffix(".tex"), f"% {MARKED.replace('%', ' percent')}\n{latex_lines(table_lines(results))}")
    write_json(stem.with_suffix(".json"), plain(results))
    console.print()
    console.print(rich_lines(short_lines(results)))
    if any(found.significant for found in results.gains["mIoU"].values()):
        say(MARKED)
    for verdict in group_verdicts(results.students, equal_time=results.config.minutes is not None):
        say(f"verdict   {verdict}", style="yellow")
    say(f"written to {stem}.md, .csv, .tex and .json")
    root = shlex.quote(str(stem.parent))
    say_next(f"fakd report {root} -o {root}/report.html", f"fakd analyze {root} -o {root}/analysis")
