"""What a data set is to the rest of the project: a description, and sources of labelled images."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple, Protocol

from torch import Tensor


class Sample(NamedTuple):
    """One labelled image, or a batch of them once collated."""

    image: Tensor
    """(3, H, W) uint8 RGB."""
    label: Tensor
    """(H, W) uint8 class indices, 255 = ignore."""
    name: str
    """The image's path below the data set's root, without suffix."""


class Source(Protocol):
    """Labelled images at their own size, without any transform."""

    def __len__(self) -> int: ...

    def __getitem__(self, index: int) -> Sample: ...

    def check(self) -> None:
        """Open everything once; raise `DataError` that names the first file at fault."""


class DataError(ValueError):
    """A data set on disk is not what it should be; the message names the file and what to do."""


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
    notice: str = ""
    """Licence or terms of use, shown to the user once per run."""

    def __post_init__(self) -> None:
        if len(self.palette) != len(self.classes):
            raise ValueError(f"{self.name}: {len(self.classes)} classes but {len(self.palette)} colours")

    @property
    def num_classes(self) -> int:
        """Number of classes, the ignore label not counted."""
        return len(self.classes)


SPLITS: Sequence[str] = ("train", "val")
