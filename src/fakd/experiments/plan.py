"""Plans: files of one run a line, which any scheduler can have carried out, in any order, on any machine."""

import json
from collections.abc import Sequence
from pathlib import Path

from fakd.analysis.run_options import run_config
from fakd.console import say
from fakd.experiments.engines import EngineConfig
from fakd.experiments.planned_run import Failure, PlannedRun
from fakd.experiments.run_queue import run_all
from fakd.files.atomic import write_text
from fakd.training.resuming import check_folder


class Planned(Exception):
    """A plan was written in place of running."""


def run_or_plan(runs: Sequence[PlannedRun], engine: EngineConfig, plan: Path | None) -> list[Failure] | None:
    """Run what is not finished yet; or with a plan, write it if anything is left to do.

    Returns:
        As `run_all`.

    Raises:
        Planned: the plan is written, with what is finished too, so that a run keeps its line.
        ValueError: a folder holds a run with other options, or there is a file that is no plan.
        FileExistsError: a folder holds something, and its run is not to be resumed.
    """
    if plan is None:
        return run_all(runs, engine)
    for one in runs:
        check_folder(one.config, one.folder)
    left = sum(not one.finished for one in runs)
    if left == 0:
        return []
    if plan.exists():
        read_plan(plan)
    write_text(plan, "".join(f"{one.line}\n" for one in runs))
    say(f"{plan}: {len(runs)} runs, {left} of them to do; nothing is started")
    say(f"  each with   fakd run {plan} INDEX    from 0 to {len(runs) - 1}")
    say(f"  or all with fakd run {plan} --all    on as many machines as you like; then give this command again")
    raise Planned


def read_plan(path: Path) -> list[str]:
    """The lines of a plan.

    Raises:
        ValueError: the file is no plan.
    """
    try:
        lines = [line for line in path.read_text().splitlines() if line.strip()]
        sound = all("dataset" in json.loads(line) for line in lines)
    except (ValueError, TypeError):
        sound = False
    if not sound or not lines:
        raise ValueError(f"{path} is no plan: expected a file that `fakd compare --plan` wrote, a run a line.")
    return lines


def planned_run(line: str, where: str) -> PlannedRun:
    """The run of a line.

    Args:
        line: of a plan.
        where: how messages call it.

    Raises:
        ValueError: the line names an option that there is not, or a value that cannot be.
    """
    config = run_config(json.loads(line), where)
    return PlannedRun(str(config.output), config)
