"""Runs of a grid in this process, so that they take no seconds to start, or none at all."""

import json
import shutil
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from fakd.analysis import groups
from fakd.analysis.run_options import run_config
from fakd.experiments import local_engine
from fakd.files.atomic import write_json
from fakd.models import Segmentor
from fakd.models.cost import measure_cost
from fakd.training import DistillConfig, RunConfig, TrainConfig, distill, train
from fakd.training.resuming import prepare_folder


class RunHere:
    """Has the interface of `RunProcess`; the run is over when it is made."""

    started: list[RunConfig]
    """Every config that was run, in order."""
    fail: Callable[[RunConfig], str | None]
    """Why a run fails; None lets it run."""
    before: Callable[[RunConfig], None]
    """Called before each run."""
    student: Path | None
    """Whose network and scores every run ends with, in place of training one; None trains."""

    def __init__(self, words: Sequence[str], log: Path, environment: Mapping[str, str]) -> None:
        config = run_config(json.loads(words[-1]), "the run")
        type(self).started.append(config)
        type(self).before(config)
        self._reason = type(self).fail(config)
        if self._reason is None:
            if self.student is not None:
                pretend(config, self.student)
            elif not (distill(config) if isinstance(config, DistillConfig) else train(config)):
                self._reason = "interrupted from outside"

    def wait(self) -> str | None:
        return self._reason

    def stop(self, at_once: bool = False) -> None:
        """It is over."""


def pretend(config: DistillConfig | TrainConfig, student: Path) -> None:
    """Write what a run would; its scores follow from method and seed."""
    folder = prepare_folder(config)
    shutil.copy(student / "student.safetensors", folder.student)
    scores = json.loads((student / "results.json").read_text())
    luck = 3 * config.seed + len(getattr(config, "method", "")) * (1 + config.seed % 2)
    costs = {"steps": config.max_steps, "seconds": 40.0 + luck, "seconds_per_step": 0.5, "peak_memory": 2**30}
    write_json(folder.results, {**scores, "mIoU": 10.0 + luck, "mAcc": 20.0 + luck, **costs, "teacher": scores})


@pytest.fixture
def here(monkeypatch: pytest.MonkeyPatch, teacher_run: Path) -> type[RunHere]:
    """Let the runs of grids end in this process as if they had run; with `student` None they do."""

    class Fresh(RunHere):
        started: list[RunConfig] = []  # noqa: RUF012
        fail = staticmethod(lambda config: None)
        before = staticmethod(lambda config: None)
        student = teacher_run

    def cost(model: Segmentor, size: tuple[int, int]) -> Any:
        return measure_cost(model, size) if Fresh.student is None else SimpleNamespace(macs=size[0] * 10**9)

    monkeypatch.setattr(local_engine, "RunProcess", Fresh)
    monkeypatch.setattr(groups, "measure_cost", cost)
    return Fresh


def names(started: list[Any]) -> list[str]:
    """The folders of runs, in the order in which they were started."""
    return [config.output.name for config in started]
