"""Tiny runs of two processes, started as torchrun does; test_several_processes.py makes the same by one process.

python tests/reliability/ranks.py FOLDER TEACHER
"""

import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from PIL import Image
from tiny import NETWORK, SETTINGS, SMALL
from torch import nn
from torch.distributed.launcher.api import LaunchConfig, elastic_launch

from fakd.console import quiet_libraries
from fakd.data import DATASETS
from fakd.data.sets.toy_scenes import ToyScenes
from fakd.files.atomic import written_at_once
from fakd.training import DistillConfig, distill
from fakd.training import run as run_module
from fakd.training.learner import Learner

# Cross-entropy divided by all pixels, as labelled ones differ by process; no dropout, whose draws do too.
COMMON: dict[str, Any] = {"batch_size": 4, "ce_average": "all", "dropout": 0.0, "learning_rate": 0.05}
RUNS: dict[str, dict[str, Any]] = {
    "fakd": {"method": "fakd"},
    "unlabelled": {"method": "fakd", "dataset": "toy-scenes", "unlabelled_batch": 2, "max_steps": 2, "eval_every": 2},
    "cirkd": {"method": "cirkd", "max_steps": 2, "eval_every": 2, "options": {"pixel_queue": 50, "region_queue": 20}},
    "skds": {"method": "skds", "max_steps": 2, "eval_every": 2},
    "adamw": {
        "method": "cwd",
        "optimizer": "adamw",
        "learning_rate": 1e-3,
        "accumulate": 2,
        "ema": 0.5,
        "clip_grad": 1,
    },
}
VAL = {"fakd": 7, "unlabelled": 2, "cirkd": 1, "skds": 2, "adamw": 2}
"""How many images are evaluated: 4 and 3, 1 and 1, 1 and none, 1 and 1 by rank."""
FROZEN = ("fakd", "unlabelled", "adamw")
"""Those that are compared with one process."""

fitted: list[tuple[Any, Learner, torch.optim.Optimizer]] = []
"""What each run has trained with."""


def scenes(name: str) -> Any:
    """The small scenes, with as many to evaluate as this run has."""
    return replace(
        SMALL, open=lambda root, split: ToyScenes(split, count=8 if split == "train" else VAL[name], size=(48, 72))
    )


def photos(folder: Path) -> Path:
    """Three images that nobody labelled, written by whichever process comes first."""
    folder.mkdir(exist_ok=True)
    for number in range(3):
        with written_at_once(folder / f"{number}.png") as temporary, temporary.open("wb") as file:
            image = ToyScenes("val", count=9, size=(48, 72))[6 + number].image
            Image.fromarray(image.permute(1, 2, 0).numpy()).save(file, format="PNG")
    return folder


def freeze_statistics(patch: Callable[[Any, str, Any], None]) -> None:
    """Keep batch normalisation in eval mode: CPUs have no synchronised form of it."""
    patch(nn.BatchNorm2d, "train", lambda self, mode=True: nn.Module.train(self, False))


def run(name: str, folder: Path, teacher: Path) -> dict[str, Any] | None:
    DATASETS["toy-scenes"] = scenes(name)  # type: ignore[index]
    own = {"teacher": teacher, "student": NETWORK, "output": folder / name, "allow_bad_teacher": True}
    if name == "unlabelled":
        own["unlabelled"] = [str(photos(folder / "photos"))]
    return distill(DistillConfig(**{**SETTINGS, **COMMON, **own, **RUNS[name]}))


def remember(patch: Callable[[Any, str, Any], None]) -> None:
    original = run_module.fit

    def fit(fabric: Any, config: Any, folder: Any, data: Any, learner: Learner, stop: Any) -> Any:
        setup = fabric.setup

        def noting(module: Learner, optimizer: torch.optim.Optimizer) -> Any:
            fitted.append((fabric, module, optimizer))
            return setup(module, optimizer)

        fabric.setup = noting
        return original(fabric, config, folder, data, learner, stop)

    patch(run_module, "fit", fit)


def runs(folder: Path, teacher: Path) -> None:
    """What each process does."""
    quiet_libraries()
    remember(setattr)
    plain = nn.BatchNorm2d.train
    for name in RUNS:
        if name in FROZEN:
            freeze_statistics(setattr)
        else:
            nn.BatchNorm2d.train = plain  # type: ignore[method-assign]
        results = run(name, folder, teacher)
        fabric, learner, optimizer = fitted[-1]
        state = {"module": learner.state_dict(), "optimizer": optimizer.state_dict(), "found": results}
        torch.save(state, folder / f"{name}-{fabric.global_rank}.pt")


if __name__ == "__main__":
    # torchrun's own agent; by fork, its processes have the libraries already
    alone = {"rdzv_backend": "c10d", "rdzv_endpoint": "localhost:0", "run_id": "two", "max_restarts": 0}
    two = LaunchConfig(1, 1, 2, start_method="fork", **alone)
    elastic_launch(two, runs)(*map(Path, sys.argv[1:]))
