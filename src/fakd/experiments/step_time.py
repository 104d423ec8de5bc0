"""How long a step of each method takes, so that all may be given the same time."""

import json
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path

from tensorboard.backend.event_processing.event_accumulator import EventAccumulator  # type: ignore[import-untyped]

from fakd.console import say
from fakd.experiments.grid import Arm, GridConfig
from fakd.experiments.plan import run_or_plan
from fakd.experiments.planned_run import Failure, PlannedRun
from fakd.files.atomic import write_json
from fakd.files.deleting import delete_files
from fakd.training.run_folder import RunFolder

STEPS = 30
"""Length of the short run of each method."""
_FOLDER = "pilot"
_WARM_UP = 10
"""Its first steps, in which loaders start and libraries choose their kernels."""


def seconds_per_step(config: GridConfig, arms: Sequence[Arm]) -> dict[str, float] | list[Failure] | None:
    """Measure every arm by a short run, as many side by side as the runs themselves will be.

    What was measured is kept in budget.json, so that a comparison that goes on keeps its numbers of steps.

    Returns:
        Seconds by the name of the arm, the failures if there were any, or None if interrupted.
    """
    path = config.root / "budget.json"
    known: dict[str, float] = json.loads(path.read_text()) if path.is_file() else {}
    if missing := [arm for arm in arms if arm.name not in known]:
        say(f"measuring what a step takes: {STEPS} steps of each method")
        planned = {arm.name: _short_run(config, arm) for arm in missing}
        failures = run_or_plan(list(planned.values()), config, config.plan)
        if failures is None or failures:
            return failures
        known |= {name: _measured(run.folder.logs) for name, run in planned.items()}
        write_json(path, known)
        delete_short_runs(config.root)
    return {arm.name: known[arm.name] for arm in arms}


def delete_short_runs(root: Path) -> None:
    """Delete what was measured below the output of a grid, and nothing else that lies there.

    Example:
        >>> delete_short_runs(Path("a folder without any"))
    """
    folder = root / _FOLDER
    for found in [RunFolder(file.parent) for file in folder.rglob("versions.json")]:
        if found.begun:
            found.delete()
            delete_files(folder, [f"{found.root.relative_to(folder)}.log"])
    with suppress(OSError):  # there is none, or somebody else's files are there
        folder.rmdir()


def steps_within(minutes: float, seconds: Mapping[str, float]) -> dict[str, int]:
    """How many steps fit into the minutes, at least one, by the name of the arm."""
    return {name: max(1, round(60 * minutes / each)) for name, each in seconds.items()}


def _short_run(config: GridConfig, arm: Arm) -> PlannedRun:
    every = {"eval_every": STEPS, "checkpoint_every": STEPS, "log_every": 1, "warmup_steps": 0}
    output = config.root / _FOLDER / arm.name
    return config.plan_run(arm, config.seed_list[0], STEPS, output=output, resume=True, **every)


def _measured(logs: Path) -> float:
    """Mean seconds from one logged step to the next, after the warm-up."""
    events = EventAccumulator(str(logs / "tensorboard"))
    events.Reload()
    times = [event.wall_time for event in events.Scalars("loss/total")][_WARM_UP:]
    return float(times[-1] - times[0]) / (len(times) - 1)
