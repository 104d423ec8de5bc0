"""Runs on this machine: as many side by side as there are GPUs for."""

import os
import threading
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor

import torch

from fakd.console import console, say
from fakd.experiments.planned_run import PlannedRun
from fakd.experiments.run_process import BUSY, RunProcess
from fakd.files.only_writer import is_owned, new_lease
from fakd.machine import free_cores


class LocalEngine:
    """A thread for each run at a time, which waits for its process.

    A process that crashes takes no other with it, and its memory is its own to measure.

    Args:
        planned: they share accelerator and number of devices.
        jobs: how many at once; by default one for each GPU, or for each group of `devices` GPUs, else one.
    """

    def __init__(self, planned: Sequence[PlannedRun], jobs: int | None) -> None:
        config = planned[0].config
        slots = device_groups(config.accelerator, config.devices, jobs)[: len(planned)]
        self._threads = threads_each(len(slots) * config.devices)
        self._own = threading.local()
        self._pool = ThreadPoolExecutor(len(slots), initializer=lambda: setattr(self._own, "gpus", slots.pop(0)))
        self._running: list[RunProcess] = []
        self._stopped = False

    def submit(self, run: PlannedRun) -> "Future[str | None]":
        """Start a run as soon as there is room; the future holds what `RunProcess.wait` gives."""
        return self._pool.submit(self._carry_out, run)

    def stop(self, at_once: bool = False) -> None:
        """Start no other run, and have those at work write a checkpoint and end; or end them."""
        self._stopped = True
        self._pool.shutdown(wait=False, cancel_futures=True)
        for process in [*self._running]:
            process.stop(at_once)

    def close(self) -> None:
        """Wait for what is at work."""
        self._pool.shutdown()

    def _carry_out(self, run: PlannedRun) -> str | None:
        if is_owned(new_lease(run.folder.lock)):
            return BUSY
        environment = {"OMP_NUM_THREADS": os.environ.get("OMP_NUM_THREADS", str(self._threads))}
        if self._own.gpus is not None:
            environment["CUDA_VISIBLE_DEVICES"] = self._own.gpus
        process = RunProcess(run.words, run.log, environment)
        self._running.append(process)
        try:
            if self._stopped:  # while it was started
                process.stop()
            elif not console.is_terminal:
                say(f"started   {run.name}")
            return process.wait()
        finally:
            self._running.remove(process)


def device_groups(accelerator: str, devices: int, jobs: int | None) -> list[str | None]:
    """Share out the GPUs of the machine to runs side by side.

    Args:
        accelerator: as in `RunConfig`.
        devices: how many devices one run takes.
        jobs: how many runs at once; None is as many as there are GPUs for, or one where there are none.

    Returns:
        What CUDA_VISIBLE_DEVICES is to be for each of the runs; None where a run takes what there is.

    Raises:
        ValueError: one run takes more GPUs than there are.
    """
    if accelerator not in ("auto", "gpu") or not torch.cuda.is_available():
        return [None] * (jobs or 1)
    chosen = os.environ.get("CUDA_VISIBLE_DEVICES")
    names = [name.strip() for name in chosen.split(",")] if chosen else [*map(str, range(torch.cuda.device_count()))]
    groups = [",".join(names[at : at + devices]) for at in range(0, len(names) - devices + 1, devices)]
    if not groups:
        raise ValueError(f"devices is {devices}, but there are only {len(names)} GPUs.")
    return [groups[place % len(groups)] for place in range(jobs or len(groups))]


def threads_each(jobs: int) -> int:
    """How many of the machine's idle cores each of so many runs may use."""
    return max(1, free_cores() // jobs)
