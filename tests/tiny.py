"""Runs of seconds: a handful of small scenes, a small network, a few steps."""

from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

from fakd.data.sets.toy_scenes import TOY_SCENES, ToyScenes

NETWORK = "pspnet/test_resnet.r160_in1k"
SETTINGS: dict[str, Any] = {
    "head_channels": 8,
    "max_steps": 4,
    "batch_size": 2,
    "crop_size": (32, 32),
    "workers": 0,
    "accelerator": "cpu",
    "eval_every": 4,
    "checkpoint_every": 2,
    "log_every": 1,
}


@cache
def _open(root: Path | None, split: str) -> ToyScenes:
    return ToyScenes(split, count=8, size=(48, 72))


SMALL = replace(TOY_SCENES, base_size=(48, 72), crop_size=(32, 32), open=_open)
