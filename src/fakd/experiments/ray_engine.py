"""Runs on all machines of a Ray cluster: Ray queues them, pins GPUs, and tries again where a machine is lost."""

import os
import signal
from collections.abc import Sequence
from concurrent.futures import Future
from contextlib import suppress
from typing import Any

from fakd.console import say
from fakd.experiments.planned_run import PlannedRun
from fakd.experiments.run_process import carry_out

_RETRIES = 10
"""How many machines a run may lose."""


class RayEngine:
    """Each run is a task, whose process Ray ends with it; the machines share files and have fakd installed.

    Args:
        planned: they share accelerator, devices and workers.
        address: of the cluster; None is RAY_ADDRESS, or one that runs on this machine, or else a new one there.
        cpus: cores of each run; None is one for each device and one for each of its loader processes.

    Raises:
        ModuleNotFoundError: Ray is not installed.
        ConnectionError: there is no cluster at the address.
    """

    def __init__(self, planned: Sequence[PlannedRun], address: str | None, cpus: int | None) -> None:
        os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
        try:
            import ray
        except ModuleNotFoundError:
            raise ModuleNotFoundError("--engine ray needs Ray: pip install 'fakd[ray]'") from None
        self._ray: Any = ray
        asked = signal.getsignal(signal.SIGTERM)  # which Ray takes over
        try:
            ray.init(address=address, include_dashboard=False, log_to_driver=False)
        except (ConnectionError, RuntimeError, ValueError) as error:
            raise ConnectionError(
                f"there is no Ray cluster to be had at {address or 'this machine'}: {error}"
            ) from error
        with suppress(ValueError):  # not the main thread, where Ray has taken nothing
            signal.signal(signal.SIGTERM, asked)
        config = planned[0].config
        wanted = {"CPU": cpus or config.devices * (1 + config.workers)}
        if config.accelerator == "gpu" or (config.accelerator == "auto" and self._ray.cluster_resources().get("GPU")):
            wanted["GPU"] = config.devices
        self._warn(wanted)
        self._task = ray.remote(
            num_cpus=wanted["CPU"], num_gpus=wanted.get("GPU", 0), max_retries=_RETRIES, retry_exceptions=False
        )(carry_out)
        self._refs: list[Any] = []

    def submit(self, run: PlannedRun) -> "Future[str | None]":
        """Have a run done as soon as there is room; the future holds what `RunProcess.wait` gives."""
        self._refs.append(self._task.remote(run.words, str(run.log), os.getcwd()))
        future: Future[str | None] = self._refs[-1].future()
        return future

    def stop(self, at_once: bool = False) -> None:
        """Start no other run, and have those at work write a checkpoint and end; or end them."""
        for ref in self._refs:
            self._ray.cancel(ref, force=at_once)

    def close(self) -> None:
        """Wait for what is at work, and leave the cluster."""
        self._ray.wait(self._refs, num_returns=len(self._refs))
        self._ray.shutdown()

    def _warn(self, wanted: dict[str, int]) -> None:
        machines = [node["Resources"] for node in self._ray.nodes() if node["Alive"]]
        if not any(all(machine.get(name, 0) >= count for name, count in wanted.items()) for machine in machines):
            text = " and ".join(f"{count} {name}" for name, count in wanted.items())
            say(f"no machine of the cluster has {text} for a run: waiting for one (--cpus asks for less)", "yellow")
