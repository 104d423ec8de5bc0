"""Images and masks that lie in files side by side."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from fakd.console import printable
from fakd.data.layout import require_folders
from fakd.data.pairing import IMAGE_SUFFIXES, Pairs, listed, pair_folders
from fakd.data.reading import LabelMap, exif_turns, read_image, read_mask, upright_size
from fakd.data.spec import DataError, Sample, Source
from fakd.data.unlabelled import JoinedSource, UnlabelledImages
from fakd.files.checksum import digest
from fakd.types import IGNORE_INDEX

__all__ = ["IMAGE_SUFFIXES", "LabelTable", "PairedFiles", "Pairs", "ReadMask", "UnpairedError", "label_table"]
__all__ += ["pair_folders", "require_folders"]

LabelTable = npt.NDArray[np.int16]
"""(256 or more,) the class index of every raw mask value; 255 = ignore, -1 = must not occur."""

ReadMask = Callable[[Path], LabelMap]
"""Reads the raw numbers of one mask file; raises `DataError` that names the file."""

_INVALID = -1
_CHECK_THREADS = 4


def label_table(mapping: Mapping[int, int], size: int = 256) -> LabelTable:
    """Build the lookup from raw mask value to class index; raw 255 is ignored unless it is mapped.

    Args:
        mapping: Class index, or 255 for ignored pixels, of every raw value that may occur.
        size: Number of raw values, 256 or more for masks that store more than 8 bits.

    Raises:
        ValueError: A raw value lies outside the table, or a class index outside 0..255.

    Example:
        >>> table = label_table({0: 0, 1: 1, 11: 255})
        >>> [int(table[value]) for value in (0, 1, 2, 11, 255)]
        [0, 1, -1, 255, 255]
    """
    table = np.full(max(size, 256), _INVALID, dtype=np.int16)
    table[IGNORE_INDEX] = IGNORE_INDEX
    for raw, index in mapping.items():
        if not (0 <= raw < len(table) and 0 <= index <= 255):
            raise ValueError(f"label table maps {raw} to {index}, expected 0..{len(table) - 1} to 0..255")
        table[raw] = index
    return table


def looked_up(raw: LabelMap, table: LabelTable) -> tuple[LabelTable, LabelMap]:
    """Return the class index of every raw value, and all raw values that must not occur."""
    # No eight bits lie outside a table.
    outside = None if raw.dtype == np.uint8 else (raw < 0) | (raw >= len(table))
    labels: LabelTable = table[raw if outside is None else np.where(outside, 0, raw)]
    invalid = labels == _INVALID if outside is None else outside | (labels == _INVALID)
    return labels, raw[invalid]


class UnpairedError(DataError):
    """Some files have no partner; `source` holds the pairs that are whole."""

    def __init__(self, source: "PairedFiles") -> None:
        super().__init__("\n".join(problem.summary for problem in source.problems))
        self.source = source

    @property
    def faults(self) -> list[str]:
        """One message for every file that does not pair up."""
        return [fault for problem in self.source.problems for fault in problem.faults]


class PairedFiles:
    """A `Source` of image files and the mask files that belong to them.

    Args:
        root: The folder that names are relative to.
        pairs: (image path, mask path) of every sample, in order.
        table: Class index of every raw mask value, see `label_table`.
        read: Reads the raw values of a mask file; by default from an index PNG.

    Raises:
        UnpairedError: `pairs` has problems.
    """

    def __init__(
        self, root: Path, pairs: Sequence[tuple[Path, Path]], table: LabelTable, read: ReadMask = read_mask
    ) -> None:
        self.root = root
        self.pairs = list(pairs)
        self.table = table
        self.read = read
        self.pixels: torch.Tensor | None = None
        """(256,) how many pixels have each label, ignored ones at 255; None until all are counted, as `check` does."""
        self.problems = pairs.problems if isinstance(pairs, Pairs) else ()
        if self.problems:
            raise UnpairedError(self)

    def __len__(self) -> int:
        """Return the number of pairs."""
        return len(self.pairs)

    def __getitem__(self, index: int) -> Sample:
        """Read pair `index` at its own size.

        Raises:
            DataError: A file is missing or unreadable, the sizes differ, or a mask value is no class.
        """
        image_path, mask_path = self.pairs[index]
        image = read_image(image_path)
        raw = self.read(mask_path)
        _require_same_size(image, raw, image_path, mask_path)
        name = printable(image_path.relative_to(self.root).with_suffix("").as_posix())
        return Sample(image, torch.from_numpy(self._classes(raw, mask_path)), name)

    def faults(self, index: int) -> list[str]:
        """Return everything that is wrong with pair `index`, where reading it stops at the first fault."""
        image_path, mask_path = self.pairs[index]
        found: list[str] = []
        image = raw = None
        with _noting(found):
            image = read_image(image_path)
        with _noting(found):
            raw = self.read(mask_path)
        if raw is not None:
            if image is not None:
                with _noting(found):
                    _require_same_size(image, raw, image_path, mask_path)
            with _noting(found):
                self._classes(raw, mask_path)
        return found

    def check(self) -> None:
        """Read every pair once and count the labels; raise `DataError` for the first that is at fault."""
        # Decoding releases the interpreter lock, so threads are enough. Counts alone are kept: images may not fit.
        with ThreadPoolExecutor(_CHECK_THREADS) as pool:
            counted = pool.map(lambda index: _counts(self[index].label), range(len(self)))
            self.pixels = sum(counted, torch.zeros(256, dtype=torch.int64))

    def count(self, index: int) -> torch.Tensor:
        """Count the labels of pair `index`, (256,), without reading its image.

        Raises:
            DataError: The mask is missing or unreadable, or a value of it is no class.
        """
        mask_path = self.pairs[index][1]
        return _counts(torch.from_numpy(self._classes(self.read(mask_path), mask_path)))

    def part(self, places: Sequence[int]) -> "PairedFiles":
        """Return the source of some of the pairs, by their numbers."""
        return PairedFiles(self.root, [self.pairs[place] for place in places], self.table, self.read)

    def size(self, index: int) -> tuple[int, int]:
        """(height, width) of an image in pixels, without decoding it."""
        return upright_size(self.pairs[index][0])

    def identity(self, index: int) -> str:
        """What tells a sample from others of the same file."""
        return ""

    def _classes(self, raw: LabelMap, path: Path) -> npt.NDArray[np.uint8]:
        return class_indices(raw, self.table, path)


def class_indices(raw: LabelMap, table: LabelTable, path: object) -> npt.NDArray[np.uint8]:
    """Return the class index of every raw value of a mask.

    Args:
        raw: (H, W) what is stored.
        table: see `label_table`.
        path: of the mask, or what messages call it.

    Raises:
        DataError: A value is no class.
    """
    labels, wrong = looked_up(raw, table)
    if wrong.size:
        found = np.unique(wrong)
        known = np.flatnonzero(table != _INVALID)
        raise DataError(
            f"{path}: label value{'s' if len(found) > 1 else ''} {listed(found.tolist())} outside the "
            f"classes, expected only {_ranges(known.tolist())}. Correct the mask, or the class list."
        )
    return labels.astype(np.uint8)


def _counts(label: torch.Tensor) -> torch.Tensor:
    return torch.bincount(label.flatten(), minlength=256)


def image_identity(source: Source, index: int) -> str:
    """What changes with an image or its labels: of files the place, size and time, else the name and the pixels.

    Raises:
        FileNotFoundError: a file is gone.
    """
    if isinstance(source, JoinedSource):
        return image_identity(*source.at(index))
    if isinstance(source, PairedFiles):
        image, mask = source.pairs[index]
        name = image.relative_to(source.root).as_posix()
        name += source.identity(index)
        return digest([name, _stamp(image), _stamp(mask), torch.from_numpy(source.table)])
    if isinstance(source, UnlabelledImages):
        path, name = source.files[index]
        return digest([name, _stamp(path)])
    sample = source[index]
    return digest([sample.name, sample.image, sample.label])


def _stamp(path: Path) -> str:
    found = path.stat()
    return f"{found.st_size} {found.st_mtime_ns}"


def image_size(source: Source, index: int) -> tuple[int, int]:
    """(height, width) of an image in pixels; of a file without decoding it."""
    if isinstance(source, JoinedSource):
        return image_size(*source.at(index))
    if isinstance(source, UnlabelledImages):
        return upright_size(source.files[index][0])
    if isinstance(source, PairedFiles):
        return source.size(index)
    height, width = source[index].label.shape
    return height, width


@contextmanager
def _noting(faults: list[str]) -> Iterator[None]:
    try:
        yield
    except DataError as error:
        faults.append(str(error))


def _require_same_size(image: Tensor, raw: LabelMap, image_path: Path, mask_path: Path) -> None:
    height, width = image.shape[1:]
    if raw.shape == (height, width):
        return
    is_, due = f"{raw.shape[1]}x{raw.shape[0]} pixels (width x height)", f"{width}x{height}"
    if raw.shape == (width, height) and exif_turns(image_path):
        raise DataError(
            f"{mask_path}: the mask has {is_}, the size of its image {image_path} as stored, but the EXIF data of "
            f"the image turn it to {due}, so the two lie across each other. Turn the mask in the same way; or, if "
            "it was drawn on the image as stored, delete the image's EXIF orientation."
        )
    raise DataError(
        f"{mask_path}: the mask has {is_}, but its image {image_path} has {due} (after EXIF rotation). "
        "Make them the same size; scale masks with nearest neighbour."
    )


def _ranges(values: Sequence[int]) -> str:
    """Write sorted numbers shortly: 0-11, 255."""
    starts = [value for value in values if value - 1 not in values]
    ends = [value for value in values if value + 1 not in values]
    return ", ".join(str(a) if a == b else f"{a}-{b}" for a, b in zip(starts, ends, strict=True))
