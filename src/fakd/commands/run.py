"""`fakd run`: the runs of a plan, one or all."""

from dataclasses import KW_ONLY, dataclass
from pathlib import Path
from typing import Any

from fakd.experiments.engines import EngineConfig
from fakd.experiments.plan import planned_run, read_plan
from fakd.experiments.run_queue import failed_runs, run_all
from fakd.training import TrainConfig, distill, train
from fakd.training.launch import share_among_tasks


@dataclass
class RunPlanConfig(EngineConfig):
    """Do one run of a plan that `fakd compare --plan` or `fakd ablate --plan` wrote, or all of them.

    A finished run is not run again, and an interrupted one goes on.
    """

    plan: Path
    """File with a run a line."""
    index: int | None = None
    """Which run, counted from 0."""
    _: KW_ONLY
    all: bool = False
    """Do every run that is not finished, and that no other process is at work on; on several machines at the same time
    if you like, which share them."""

    def __post_init__(self) -> None:
        """Check what can be checked without starting anything.

        Raises:
            ValueError: neither one run nor all are asked for, or both; or options are not for the engine.
        """
        self.plan = Path(self.plan)
        self.check_engine()
        if self.all == (self.index is not None):
            raise ValueError(f"say which run of {self.plan}: an index from 0 on, or else --all.")
        if self.all:
            share_among_tasks()
        elif self.engine != "local" or self.jobs is not None:
            raise ValueError("engine and jobs are for --all: one run is done by this process.")


def run(config: RunPlanConfig) -> dict[str, Any] | None:
    """Do one run of a plan, or all.

    Returns:
        What the run's results.json holds; of all, nothing. None if interrupted.

    Raises:
        ValueError: there is no such plan or run, or runs failed.
        BusyError: another process is at work on the run.
    """
    lines = read_plan(config.plan)
    if config.index is not None:
        if not 0 <= config.index < len(lines):
            raise ValueError(f"{config.plan} has the runs 0 to {len(lines) - 1}; got {config.index}.")
        one = planned_run(lines[config.index], f"{config.plan}, run {config.index}").config
        return train(one) if isinstance(one, TrainConfig) else distill(one)
    runs = [planned_run(line, f"{config.plan}, run {number}") for number, line in enumerate(lines)]
    failures = run_all(runs, config, others=False)
    if failures is None:
        return None
    if failures:
        raise failed_runs(failures, len(runs), "The others are done, or others do them")
    return {}
