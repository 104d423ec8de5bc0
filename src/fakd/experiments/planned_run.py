"""One run of several: what it is, where it lies, and what starts it."""

import json
import os
from dataclasses import dataclass
from pathlib import Path

from fakd.training import DistillConfig, TrainConfig
from fakd.training.run_folder import RunFolder


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
        try:  # of the whole folder, as a network file system remembers for a while that a file was missing
            return self.folder.results.name in os.listdir(self.folder.root)
        except OSError:
            return False

    @property
    def line(self) -> str:
        """Its config as a line of JSON, from which it can be started, and gone on with, any number of times."""
        return json.dumps({**self.config.to_dict(), "resume": True})

    @property
    def words(self) -> list[str]:
        """The command and its options."""
        return ["train" if isinstance(self.config, TrainConfig) else "distill", "--config", self.line]


@dataclass(frozen=True)
class Failure:
    """A run that did not finish."""

    name: str
    reason: str
    """The last error that it printed."""
    log: Path
