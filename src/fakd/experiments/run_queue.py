"""Many runs on an engine: what is finished stays, what others do is waited for, what failed is reported."""

import json
import os
import time
from collections.abc import Sequence
from concurrent.futures import FIRST_COMPLETED, CancelledError, Future, wait
from typing import Any

from filelock import SoftFileLease

from fakd.console import progress, say
from fakd.experiments.engines import EngineConfig
from fakd.experiments.planned_run import Failure, PlannedRun
from fakd.experiments.run_process import BUSY, printed
from fakd.files.only_writer import is_owned, new_lease
from fakd.training.resuming import check_folder
from fakd.training.stopping import StopRequest

_PAUSE = 0.2
"""Seconds between looks at what was asked of this process."""


class FailedRunsError(ValueError):
    """Some of many runs did not finish; the others did."""


def run_all(planned: Sequence[PlannedRun], engine: EngineConfig, *, others: bool = True) -> list[Failure] | None:
    """Run what is not finished yet.

    Several processes, of one machine or more, may do this with the same runs: each run is done by one of them.

    Args:
        planned: they share accelerator and number of devices.
        engine: what carries them out.
        others: whether to wait for the runs that other processes are at work on, and do what these leave undone.

    Returns:
        Those that failed, or None if the user stopped them.

    Raises:
        ValueError: a folder holds a run with other options.
        FileExistsError: a folder holds something, and its run is not to be resumed.
    """
    for one in planned:
        check_folder(one.config, one.folder)  # before the first is started, so that a mistake shows at once
    waiting = [one for one in planned if not one.finished]
    if done := len(planned) - len(waiting):
        say(f"{done} of {len(planned)} runs are finished already", style="dim")
    if not waiting:
        return []
    # Tasks that srun started at once do not all begin with the same run.
    place = int(os.environ.get("SLURM_PROCID", "0")) % len(waiting)
    waiting = waiting[place:] + waiting[:place]
    failures: list[Failure] = []
    busy: dict[str, tuple[PlannedRun, SoftFileLease]] = {}
    stop, told = StopRequest(), False
    with engine.opened(waiting) as at_work, progress("runs") as bar, stop.heard():
        task = bar.add_task("running", total=len(planned), completed=done, note="")
        futures = {at_work.submit(one): one for one in waiting}
        while futures or (busy and others and not stop.asked):
            if stop.asked and not told:
                told = True
                at_work.stop()
            wait(futures, _PAUSE, FIRST_COMPLETED)
            for future in [future for future in futures if future.done()]:  # or cancelled, which `wait` does not tell
                one, reason = futures.pop(future), _outcome(future)
                if reason == BUSY:
                    busy[one.name] = one, new_lease(one.folder.lock)
                elif one.finished or not stop.asked:
                    failures += _report(one, reason)
            for one, lease in list(busy.values()) if others and not futures and not stop.asked else ():
                if not is_owned(lease):  # it is finished, or left undone
                    del busy[one.name]
                    futures[at_work.submit(one)] = one
            if not futures:
                time.sleep(_PAUSE)
            bar.update(task, completed=len(planned) - len(futures) - len(busy), note=_note(futures))
    if stop.asked:
        finished = sum(one.finished for one in planned)
        say(f"stopped with {finished} of {len(planned)} runs finished; go on with the same command", style="yellow")
        return None
    if busy:
        say(f"other processes are at work on {', '.join(busy)}", style="dim")
    return failures


def failed_runs(failures: Sequence[Failure], total: int, consequence: str) -> FailedRunsError:
    """The error that lists them."""
    listed = "; ".join(f"{failure.name}: {failure.reason} (log: {failure.log})" for failure in failures)
    return FailedRunsError(
        f"{len(failures)} of {total} runs failed. {consequence}; the same command tries them again. {listed}"
    )


def _outcome(future: "Future[str | None]") -> str | None:
    """Why a run failed; None where it did not."""
    try:
        return future.result()
    except CancelledError:
        return "was not started"
    except Exception as error:  # what an engine says of a machine that was lost, or has not the files
        return str(error).strip().rpartition("\n")[2] or type(error).__name__


def _report(run: PlannedRun, reason: str | None) -> list[Failure]:
    """Say how a run ended, and return what went wrong."""
    if run.finished:
        results: dict[str, Any] = json.loads(run.folder.results.read_text())
        scores = f"{run.config.score} {results['mIoU']:.2f}  mAcc {results['mAcc']:.2f}"
        say(f"finished  {run.name}  {scores}  in {results['seconds']:.0f} s")
        return []
    failure = Failure(run.name, reason or "it ended without results", run.log)
    say(f"failed    {failure.name}: {failure.reason}  (log: {failure.log})", style="red")
    return [failure]


def _note(futures: "dict[Future[str | None], PlannedRun]") -> str:
    """What the runs at work printed last, for the bar."""
    at_work = [one for future, one in futures.items() if future.running()]
    return "  ".join(f"{one.name}: {['starting', *printed(one.log, at_most=2000)][-1][:30]}" for one in at_work)
