"""Runs of a grid in this process, so that they take no seconds to start, or none at all."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from fakd.analysis import groups
from fakd.experiments import run_queue
from fakd.models import Segmentor
from fakd.models.cost import measure_cost
from fakd.training import DistillConfig, RunConfig, TrainConfig, distill, train
from fakd.training.run_folder import prepare_folder, write_json


class RunHere:
    """Has the interface of `RunProcess`; the run is over when it is made."""

    started: list[RunConfig]
    """Every config that was run, in order."""
    fail: Callable[[RunConfig], str | None]
    """Why a run fails; None lets it run."""
    stop: Callable[[RunConfig], None]
    """Called before each run."""
    student: Path | None
    """Whose network and scores every run ends with, in place of training one; None trains."""

    def __init__(self, config: RunConfig, log: Path, gpus: str | None, threads: int) -> None:
        type(self).started.append(config)
        type(self).stop(config)
        self._reason = type(self).fail(config)
        self._status = 1
        if self._reason is None:
            assert isinstance(config, DistillConfig | TrainConfig)
            if self.student is not None:
                self._status = pretend(config, self.student)
            else:
                done = distill(config) if isinstance(config, DistillConfig) else train(config)
                self._status = 0 if done else 130

    def poll(self) -> int:
        return self._status

    def interrupt(self) -> None:
        raise AssertionError("it is over")

    def last_line(self) -> str:
        return ""

    def reason(self) -> str:
        assert self._reason is not None
        return self._reason


def pretend(config: DistillConfig | TrainConfig, student: Path) -> int:
    """Write what a run would; its scores follow from method and seed."""
    folder = prepare_folder(config)
    shutil.copy(student / "student.safetensors", folder.student)
    scores = json.loads((student / "results.json").read_text())
    luck = 3 * config.seed + len(getattr(config, "method", "")) * (1 + config.seed % 2)
    costs = {"steps": config.max_steps, "seconds": 40.0 + luck, "seconds_per_step": 0.5, "peak_memory": 2**30}
    write_json(folder.results, {**scores, "mIoU": 10.0 + luck, "mAcc": 20.0 + luck, **costs, "teacher": scores})
    return 0


@pytest.fixture
def here(monkeypatch: pytest.MonkeyPatch, teacher_run: Path) -> type[RunHere]:
    """Let the runs of grids end in this process as if they had run; with `student` None they do."""

    class Fresh(RunHere):
        started: list[RunConfig] = []  # noqa: RUF012
        fail = staticmethod(lambda config: None)
        stop = staticmethod(lambda config: None)
        student = teacher_run

    def cost(model: Segmentor, size: tuple[int, int]) -> Any:
        return measure_cost(model, size) if Fresh.student is None else SimpleNamespace(macs=size[0] * 10**9)

    monkeypatch.setattr(run_queue, "RunProcess", Fresh)
    monkeypatch.setattr(groups, "measure_cost", cost)
    return Fresh


def names(started: list[Any]) -> list[str]:
    """The folders of runs, in the order in which they were started."""
    return [config.output.name for config in started]
