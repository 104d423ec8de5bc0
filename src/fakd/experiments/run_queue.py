"""Many runs, one after another or side by side: what is finished stays, what failed is reported."""

import json
import time
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fakd.console import console, progress, say
from fakd.experiments import run_process
from fakd.experiments.run_process import RunProcess
from fakd.training.config import TrainConfig
from fakd.training.distill_config import DistillConfig
from fakd.training.launch import launched
from fakd.training.run_folder import RunFolder, check_folder

_PAUSE = 0.2
"""Seconds between looks at the processes."""


@dataclass(frozen=True)
class PlannedRun:
    """One run of several."""

    name: str
    """How it is called in messages."""
    config: TrainConfig | DistillConfig
    """The run; with `resume`, or it is started only where nothing is there."""

    @property
    def folder(self) -> RunFolder:
        """Where it lies."""
        return RunFolder(self.config.output)

    @property
    def log(self) -> Path:
        """The file beside its folder that holds what it printed."""
        return self.folder.root.with_name(f"{self.folder.root.name}.log")

    @property
    def finished(self) -> bool:
        """Whether nothing is left to do."""
        return self.folder.results.is_file()


@dataclass(frozen=True)
class Failure:
    """A run that did not finish."""

    name: str
    reason: str
    """The last error that it printed."""
    log: Path


def run_all(planned: Sequence[PlannedRun], jobs: int | None = None) -> list[Failure] | None:
    """Run what is not finished yet, each in a process of its own.

    A process that crashes takes no other with it, and its memory is its own to measure.

    Args:
        planned: they share accelerator and number of devices.
        jobs: how many at once; by default one for each GPU, or for each group of `devices` GPUs, else one.

    Returns:
        Those that failed, or None if the user stopped them.

    Raises:
        ValueError: a folder holds a run with other options, or torchrun or srun started this process.
        FileExistsError: a folder holds something, and its run is not to be resumed.
    """
    if launch := launched():
        raise ValueError(
            f"this command starts its runs by itself: start it without {launch.by}, and give it --devices."
        )
    for one in planned:
        check_folder(one.config, one.folder)  # before the first is started, so that a mistake shows at once
    waiting = deque(one for one in planned if not one.finished)
    if done := len(planned) - len(waiting):
        say(f"{done} of {len(planned)} runs are finished already", style="dim")
    if not waiting:
        return []
    config = waiting[0].config
    slots = run_process.device_groups(config.accelerator, config.devices, jobs)[: len(waiting)]
    failures: list[Failure] = []
    running: dict[int, _Running] = {}
    told = 0
    with progress("runs") as bar, run_process.counted_stops() as stops:
        task = bar.add_task("running", total=len(planned), completed=done, note="")
        try:
            while running or (waiting and not stops):
                for slot in [slot for slot in range(len(slots)) if slot not in running]:
                    if waiting and not stops:
                        started = _start(waiting.popleft(), slots[slot], len(slots))
                        if isinstance(started, Failure):
                            failures.append(started)
                        else:
                            running[slot] = started
                if len(stops) > told:
                    told = len(stops)
                    say("stopping after the steps that are running; press Ctrl-C again to stop at once", style="yellow")
                    run_process.stop_all([run.process for run in running.values()], told)
                time.sleep(_PAUSE if running else 0)
                for slot in [slot for slot, run in running.items() if run.process.poll() is not None]:
                    failure = _end(running.pop(slot), asked_to=bool(stops))
                    failures += [failure] if failure else []
                    bar.advance(task)
                bar.update(task, note="  ".join(run.note() for run in running.values()))
        finally:  # where something failed here, nobody would wait for them
            run_process.stop_all([run.process for run in running.values()], 1)
    if stops:
        finished = sum(one.finished for one in planned)
        say(f"stopped with {finished} of {len(planned)} runs finished; go on with the same command", style="yellow")
        return None
    return failures


@dataclass(frozen=True)
class _Running:
    planned: PlannedRun
    process: RunProcess

    def note(self) -> str:
        """What it does, for the bar."""
        return f"{self.planned.name}: {self.process.last_line()[:30]}"


def _start(planned: PlannedRun, gpus: str | None, jobs: int) -> _Running | Failure:
    try:
        process = RunProcess(planned.config, planned.log, gpus, run_process.threads_each(jobs * planned.config.devices))
    except run_process.BusyError as error:
        return _report(Failure(planned.name, str(error), planned.log))
    if not console.is_terminal:
        say(f"started   {planned.name}")
    return _Running(planned, process)


def _end(run: _Running, asked_to: bool) -> Failure | None:
    """Say how a run ended, and return what went wrong with one that was not asked to end."""
    if run.planned.finished:
        results: dict[str, Any] = json.loads(run.planned.folder.results.read_text())
        scores = f"{run.planned.config.score} {results['mIoU']:.2f}  mAcc {results['mAcc']:.2f}"
        say(f"finished  {run.planned.name}  {scores}  in {results['seconds']:.0f} s")
        return None
    return None if asked_to else _report(Failure(run.planned.name, run.process.reason(), run.planned.log))


def _report(failure: Failure) -> Failure:
    say(f"failed    {failure.name}: {failure.reason}  (log: {failure.log})", style="red")
    return failure
