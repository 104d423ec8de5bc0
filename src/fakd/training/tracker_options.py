"""Where else the numbers of a run go: the options of experiment trackers."""

from dataclasses import dataclass
from importlib.util import find_spec
from typing import Literal

from fakd.console import install_command

PACKAGES = {"wandb": "wandb", "mlflow": "mlflow", "comet": "comet_ml"}
"""The module of each tracker."""


@dataclass(kw_only=True)
class TrackerConfig:
    """Whether an experiment tracker gets the numbers too, beside the CSV file and TensorBoard."""

    tracker: Literal["wandb", "mlflow", "comet"] | None = None
    """Experiment tracker that gets the options, the logged values and the results too; none by default. Account, server
    and project are what its own variables say, as WANDB_PROJECT, MLFLOW_TRACKING_URI or COMET_API_KEY."""
    tracker_group: str | None = None
    """Name that the tracker shows runs under together; by default a comparison's folder, none for a single run."""

    def check_tracker(self) -> None:
        """Refuse what cannot be.

        Raises:
            ValueError: there is no such tracker, or a group is given without one.
            ModuleNotFoundError: its package is not installed.
        """
        if self.tracker is None:
            if self.tracker_group is not None:
                raise ValueError(f"tracker_group {self.tracker_group!r} is for a tracker: give --tracker too.")
            return
        if self.tracker not in PACKAGES:
            raise ValueError(f"tracker must be {', '.join(PACKAGES)}, got {self.tracker!r}.")
        if find_spec(PACKAGES[self.tracker]) is None:
            raise ModuleNotFoundError(
                f"--tracker {self.tracker} needs a package that is not installed: {install_command(self.tracker)}"
            )
