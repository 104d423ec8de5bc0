"""What a run costs: its time, and the most memory that it held."""

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

import torch


class Clock:
    """Seconds spent in training over all starts of a run, without the evaluations in between.

    Args:
        seconds: of earlier starts.
        data_seconds: of these, how many were spent waiting for the loader.
        evaluation_seconds: spent in those evaluations.
    """

    def __init__(self, seconds: float = 0.0, data_seconds: float = 0.0, evaluation_seconds: float = 0.0) -> None:
        self._seconds, self.data_seconds, self.evaluation_seconds = seconds, data_seconds, evaluation_seconds
        self._since: float | None = None

    @property
    def seconds(self) -> float:
        """Until now."""
        return self._seconds + (0.0 if self._since is None else time.monotonic() - self._since)

    def state_dict(self) -> dict[str, float]:
        """All numbers."""
        return {
            "seconds": self.seconds,
            "data_seconds": self.data_seconds,
            "evaluation_seconds": self.evaluation_seconds,
        }

    @contextmanager
    def running(self) -> Iterator[None]:
        """Count the time within."""
        self._since = time.monotonic()
        try:
            yield
        finally:
            self._seconds, self._since = self.seconds, None

    @contextmanager
    def paused(self) -> Iterator[None]:
        """Count the time within as spent in evaluations alone."""
        self._seconds, self._since = self.seconds, None
        since = time.monotonic()
        yield
        self._since = time.monotonic()
        self.evaluation_seconds += self._since - since

    @contextmanager
    def waiting(self) -> Iterator[None]:
        """Count the time within as spent waiting for the loader too."""
        since = time.monotonic()
        yield
        self.data_seconds += time.monotonic() - since


def peak_memory(device: torch.device) -> int | None:
    """Return the most bytes that this process has held at once: on a GPU in tensors there, else in all.

    None on Windows, which keeps no such count for a process in Python's reach.
    """
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    if sys.platform == "win32":
        return None
    import resource  # there is none on Windows

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024
