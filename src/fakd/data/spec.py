"""What a data set is to the rest of the project: a description, and sources of labelled images."""

import json
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple, Protocol

import torch
from torch import Tensor

from fakd.data.bands import Bands
from fakd.data.cropping import WHOLE_IMAGE

_THREADS = 4

NO_LOGITS = torch.empty(0)
"""Stands for a teacher's logits where none are kept."""


class Sample(NamedTuple):
    """One labelled image, or a batch of them once collated."""

    image: Tensor
    """(3, H, W) uint8 RGB; of rasters as many channels as bands are read."""
    label: Tensor
    """(H, W) uint8 class indices, 255 = ignore; 254 throughout an image that nobody labelled."""
    name: str
    """The image's path below the data set's root, without suffix."""
    geometry: Tensor = WHOLE_IMAGE
    """(5,) which region of its image the sample shows, see `Geometry`."""
    teacher_logits: Tensor = NO_LOGITS
    """(C, h, w) float32: what a teacher cache holds of this crop; `NO_LOGITS` without one."""


class Source(Protocol):
    """Labelled images at their own size, without any transform."""

    def __len__(self) -> int: ...

    def __getitem__(self, index: int) -> Sample: ...

    def check(self) -> None:
        """Open everything once; raise `DataError` that names the first file at fault."""


def open_all(source: Source) -> None:
    """Open every sample once; raise `DataError` for the first that is at fault."""
    with ThreadPoolExecutor(_THREADS) as pool:  # decoding releases the interpreter lock
        for _ in pool.map(lambda index: source[index].name, range(len(source))):  # no tensors, which may not fit
            pass


def spread(length: int, count: int) -> list[int]:
    """At most `count` of a source's indices, as far apart as can be."""
    return sorted({round(place) for place in torch.linspace(0, length - 1, min(length, count)).tolist()})


class DataError(ValueError):
    """A data set on disk is not what it should be; the message names the file and what to do."""


@dataclass(frozen=True)
class SlidingWindow:
    """How an image is cut into overlapping parts for inference, in pixels of the fitted image."""

    size: tuple[int, int]
    """(height, width) of a part."""
    stride: tuple[int, int]
    """(down, right) from one part to the next; at most the size."""

    def __post_init__(self) -> None:
        if min(self.size) < 1 or min(self.stride) < 1:
            raise ValueError(f"a window's size and stride must be at least 1 pixel, got {self.size} and {self.stride}")
        if self.stride[0] > self.size[0] or self.stride[1] > self.size[1]:
            raise ValueError(f"a stride of {self.stride} leaves gaps between windows of {self.size}: make it smaller")


@dataclass(frozen=True)
class DatasetSpec:
    """Everything that distinguishes one data set from another."""

    name: str
    classes: tuple[str, ...]
    palette: tuple[tuple[int, int, int], ...]
    """One RGB colour (0-255) a class."""
    base_size: tuple[int, int]
    """(height, width) in pixels that images are fitted into, keeping their aspect, before random scaling;
    turned for upright images, as in MMSegmentation."""
    crop_size: tuple[int, int]
    """(height, width) in pixels of a training crop."""
    open: Callable[[Path | None, str], Source]
    """`open(root, split)` gives the source of split "train" or "val"."""
    needs_root: bool = True
    """False for a data set that is made, not read."""
    counts: Mapping[str, int] = field(default_factory=dict)
    """Published number of images of each split; empty where nothing is published."""
    learning_rate: float = 0.01
    """Learning rate of SGD in the paper's protocol."""
    window: SlidingWindow | None = None
    """How the benchmark evaluates images of this data set; None is whole images."""
    bands: Bands = field(default_factory=Bands)
    """What is read of TIFF files."""
    notice: str = ""
    """Licence or terms of use, shown to the user once per run."""

    def __post_init__(self) -> None:
        if len(self.classes) < 2:
            raise ValueError(f"{self.name}: {len(self.classes)} class, expected two or more, as background and object")
        if len(self.palette) != len(self.classes):
            raise ValueError(f"{self.name}: {len(self.classes)} classes but {len(self.palette)} colours")

    @property
    def num_classes(self) -> int:
        """Number of classes, the ignore label not counted."""
        return len(self.classes)

    def notes(self, base_size: tuple[int, int] | None = None) -> dict[str, str]:
        """Return what someone who gets only a network's file must know to use it, as strings to keep with it.

        Args:
            base_size: (height, width) that the network's images were fitted into, if not the data set's own.
        """
        return {
            "dataset": self.name,
            "classes": json.dumps(self.classes),
            "palette": json.dumps(self.palette),
            "base_size": json.dumps(base_size or self.base_size),
            **self.bands.notes(),
        }


def check_num_classes(network: object, count: int, other: object, expected: int, advice: str = "") -> None:
    """Refuse a network that scores another number of classes than it must.

    Args:
        network: its name, for the error.
        count: how many it scores.
        other: what it must fit, as the name of a data set, for the error.
        expected: how many that has.
        advice: what to do about it, as sentences.

    Raises:
        ValueError: the two differ.
    """
    if count != expected:
        raise ValueError(f"{network} scores {count} classes, but {other} has {expected}. {advice}".rstrip())


SPLITS: Sequence[str] = ("train", "val")
