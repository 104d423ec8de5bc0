"""Rasters with their masks as training data: cut into tiles, of which each is read when it is asked for."""

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from fakd.data.bands import Bands
from fakd.data.cropping import Window
from fakd.data.paired_files import LabelTable, PairedFiles
from fakd.data.pairing import Pairs
from fakd.data.raster import is_raster, open_raster, read_mask_window
from fakd.data.spec import DataError, Sample
from fakd.data.user.masks import UserMasks
from fakd.types import IGNORE_INDEX

_TILE = 1024
"""Side of a tile where nothing else is said."""


def tile_size(path: Path, bands: Bands) -> tuple[int, int] | None:
    """(height, width) of the tiles of a raster, which are never larger than it; None of any other file.

    Raises:
        DataError: the file is damaged, or lacks a band.
    """
    if not is_raster(path, bands):
        return None
    with open_raster(path, bands) as raster:
        height, width = raster.size
    return min(height, _TILE), min(width, _TILE)


def open_pairs(
    root: Path, pairs: Pairs, table: LabelTable, masks: UserMasks, bands: Bands, tile: tuple[int, int]
) -> PairedFiles:
    """Open images and masks, with rasters cut into tiles where there are any.

    Raises:
        UnpairedError: `pairs` has problems.
        DataError: bands are asked for, and a file has none.
    """
    if any(is_raster(image, bands) for image, _ in pairs):
        return TiledFiles(root, pairs, table, masks, bands, tile)
    return PairedFiles(root, pairs, table, masks)


class TiledFiles(PairedFiles):
    """A `Source` whose samples are tiles of rasters, at their own resolution, and whole images of other files.

    Tiles at the right and lower edges are moved back to end where the raster does; what a tile before shows already is
    labelled 255, so that every pixel counts once. So is what has no data, in the image or in the mask.

    Args:
        root: The folder that names are relative to.
        pairs: (image path, mask path), in order.
        table: Class index of every raw mask value.
        masks: Reads masks.
        bands: What is read of rasters.
        tile: (height, width) of tiles in pixels of the raster.
        places: The tile of every pair, None for the whole image, where they are known; each raster has a pair a tile.
    """

    def __init__(
        self,
        root: Path,
        pairs: Sequence[tuple[Path, Path]],
        table: LabelTable,
        masks: UserMasks,
        bands: Bands,
        tile: tuple[int, int],
        places: Sequence[Window | None] | None = None,
    ) -> None:
        self.masks, self.bands, self.tile = masks, bands, tile
        if places is None:
            found = [(pair, place) for pair in pairs for place in self._places(pair[0])]
            problems = pairs.problems if isinstance(pairs, Pairs) else ()
            pairs, places = Pairs([pair for pair, _ in found], problems), [place for _, place in found]
        self.places = list(places)
        super().__init__(root, pairs, table, masks)

    def __getitem__(self, index: int) -> Sample:
        """Read a tile, or a whole image.

        Raises:
            DataError: A file is unreadable, mask and image do not lie on each other, or a mask value is no class.
        """
        if (place := self.places[index]) is None:
            return super().__getitem__(index)
        image_path, mask_path = self.pairs[index]
        with open_raster(image_path, self.bands) as raster:
            image, seen = raster.read(place)
            mask, known = read_mask_window(mask_path, place, raster)
        label = torch.full(seen.shape, IGNORE_INDEX, dtype=torch.uint8)
        if known.any():
            raw = self.masks.values(mask, mask_path)
            # What stands where nothing is known need not be a class.
            classes = self._classes(np.where(known, raw, raw[known][0]), mask_path)
            label = torch.from_numpy(np.where(known & seen, classes, IGNORE_INDEX).astype(np.uint8))
        down, right = (-start % side for start, side in zip(place[:2], self.tile, strict=True))
        label[:down], label[:, :right] = IGNORE_INDEX, IGNORE_INDEX
        name = image_path.relative_to(self.root).with_suffix("").as_posix()
        return Sample(image, label, f"{name}/{place.top}-{place.left}")

    def faults(self, index: int) -> list[str]:
        """Return what is wrong with a tile, or everything that is with a whole image."""
        if self.places[index] is None:
            return super().faults(index)
        try:
            self[index]
        except DataError as error:
            return [str(error)]
        return []

    def count(self, index: int) -> Tensor:
        """Count the labels of a tile, (256,)."""
        if self.places[index] is None:
            return super().count(index)
        return torch.bincount(self[index].label.flatten(), minlength=256)

    def part(self, places: Sequence[int]) -> "TiledFiles":
        """Return the source of some of its samples."""
        pairs, tiles = [self.pairs[place] for place in places], [self.places[place] for place in places]
        return TiledFiles(self.root, pairs, self.table, self.masks, self.bands, self.tile, tiles)

    def size(self, index: int) -> tuple[int, int]:
        """(height, width) of a sample in pixels."""
        place = self.places[index]
        return super().size(index) if place is None else (place.height, place.width)

    def identity(self, index: int) -> str:
        """What tells a sample from others of its file."""
        return "" if self.places[index] is None else f"{self.places[index]} {self.bands} {self.tile}"

    def _places(self, path: Path) -> Iterator[Window | None]:
        if not is_raster(path, self.bands):
            yield None
            return
        try:
            with open_raster(path, self.bands) as raster:
                size = raster.size
        except DataError:  # which is said when it is read
            yield Window(0, 0, *self.tile)
            return
        tall, wide = (min(sides) for sides in zip(size, self.tile, strict=True))
        for top in _starts(size[0], tall):
            for left in _starts(size[1], wide):
                yield Window(top, left, tall, wide)


def _starts(length: int, side: int) -> list[int]:
    """Where tiles begin along one side; the last ends where it ends."""
    return [*range(0, length - side, side), length - side]
