"""How long training took, and how much of that it waited for data."""

import time
from typing import Any

from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.profilers import Profiler

_NEXT_BATCH = ".train_dataloader_next"
"""How the name ends under which Lightning's training loop reports to a profiler that it fetches a batch."""


class LoaderClock(Profiler):
    """Seconds that the training loop waited for its next batch.

    A profiler, as no hook of Lightning's tells when a batch is asked for.
    """

    def __init__(self) -> None:
        super().__init__()
        self.seconds = 0.0
        self._since = 0.0

    def start(self, action_name: str) -> None:
        """Start where a training batch is asked for."""
        if action_name.endswith(_NEXT_BATCH):
            self._since = time.monotonic()

    def stop(self, action_name: str) -> None:
        """Stop when it is there."""
        if action_name.endswith(_NEXT_BATCH):
            self.seconds += time.monotonic() - self._since


class StepTimer(Callback):
    """Seconds spent in training, over all starts of the run, without the evaluations in between.

    Args:
        loader: the Trainer's profiler, which knows how long it waited for batches.
    """

    def __init__(self, loader: LoaderClock) -> None:
        self.seconds = 0.0
        self._loader = loader
        self._earlier_data_seconds = 0.0
        self._since: float | None = None

    @property
    def data_seconds(self) -> float:
        """How many of them were spent waiting for the loader."""
        return self._earlier_data_seconds + self._loader.seconds

    def on_train_start(self, trainer: Trainer, module: LightningModule) -> None:
        """Start the clock."""
        self._since = time.monotonic()

    def on_validation_start(self, trainer: Trainer, module: LightningModule) -> None:
        """Stop the clock."""
        self._stop()

    def on_validation_end(self, trainer: Trainer, module: LightningModule) -> None:
        """Start the clock again."""
        self._since = time.monotonic()

    def on_train_end(self, trainer: Trainer, module: LightningModule) -> None:
        """Stop the clock."""
        self._stop()

    def state_dict(self) -> dict[str, Any]:
        """The seconds so far."""
        running = 0.0 if self._since is None else time.monotonic() - self._since
        return {"seconds": self.seconds + running, "data_seconds": self.data_seconds}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go on from the seconds of the earlier starts."""
        self.seconds = state_dict["seconds"]
        self._earlier_data_seconds = state_dict.get("data_seconds", 0.0)  # older checkpoints have none

    def _stop(self) -> None:
        if self._since is not None:
            self.seconds += time.monotonic() - self._since
            self._since = None
