"""Images to pick from on the page."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import numpy.typing as npt
from torch import Tensor
from torchvision.transforms.v2 import functional as F

from fakd.data import DataError, get_dataset, read_image
from fakd.data.spec import Source, spread
from fakd.evaluation.images import find_sources

_THUMBNAIL = 240  # pixels of the longest side


@dataclass(frozen=True)
class Sample:
    """An image to pick."""

    read: Callable[[], Tensor]
    """Gives its pixels, (3, H, W) uint8 RGB."""
    thumbnail: npt.NDArray[np.uint8]
    """(h, w, 3) RGB."""


def samples_from_folder(folder: Path, count: int) -> list[Sample]:
    """Find images in a folder, spread evenly over their names; those that cannot be read are passed over.

    Raises:
        FileNotFoundError: there is no image.
    """
    sources = [source for source in find_sources([folder]) if not source.is_video]
    chosen = [sources[index] for index in spread(len(sources), count)]
    found = (_sample(partial(read_image, source.path)) for source in chosen)
    return [sample for sample in found if sample is not None]


def samples_from_dataset(name: str, root: Path | None, count: int) -> list[Sample]:
    """Find images in a data set's validation split, spread evenly over it.

    Raises:
        DataError: the data set is not at `root`.
        ValueError: there is none of that name.
    """
    source = get_dataset(name, root).open(root, "val")
    found = (_sample(partial(_read, source, index)) for index in spread(len(source), count))
    return [sample for sample in found if sample is not None]


def _read(source: Source, index: int) -> Tensor:
    return source[index].image


def _sample(read: Callable[[], Tensor]) -> Sample | None:
    try:
        image = read()
    except DataError:
        return None
    height, width = image.shape[-2:]
    factor = _THUMBNAIL / max(height, width)
    small = F.resize_image(image, [max(1, round(height * factor)), max(1, round(width * factor))], antialias=True)
    return Sample(read, small.permute(1, 2, 0).numpy())
