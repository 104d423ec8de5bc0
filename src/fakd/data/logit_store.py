"""A teacher's logits of whole images, on disk, cut as samples are cut."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil
from pathlib import Path

import torch
from torch import Tensor

from fakd.data.checked_file import load_checked, save_checked
from fakd.data.geometry import Geometry, crop_map
from fakd.data.logit_codes import LogitFormat, decode_logits, encode_logits
from fakd.data.spec import DataError, Sample


@dataclass(frozen=True)
class LogitStore:
    """Two maps of every image of a split, each a file of its own: of the fitted image and of its mirror image.

    Map 2 i + f is that of image i, mirrored if f is 1. Files are opened when they are asked for and mapped into memory,
    so processes share what they have read. Each is checked every time it is read.
    """

    folder: Path
    """Where the files are."""
    labels: Sequence[str]
    """What each map must say it is, see `save_checked`."""
    classes: int
    """C."""
    stride: int
    """Image pixels per cell of the maps."""
    form: LogitFormat
    """How maps are compressed."""

    def __len__(self) -> int:
        """Return the number of maps."""
        return len(self.labels)

    def path(self, number: int) -> Path:
        """The file of one map."""
        return self.folder / f"{number // 2:06d}{'-mirrored' if number % 2 else ''}.safetensors"

    def write(self, number: int, logits: Tensor, size: Sequence[int]) -> None:
        """Keep a map.

        Args:
            number: which.
            logits: (C, h, w) on the CPU.
            size: (height, width) in pixels of the fitted image.

        Raises:
            ValueError: it cannot be compressed, see `encode_logits`.
        """
        coded = encode_logits(logits, self.form)
        save_checked(self.path(number), {**coded, "size": torch.tensor(size)}, self.labels[number])

    def is_right(self, number: int) -> bool:
        """Whether the map is there, whole, and of this image."""
        return load_checked(self.path(number), self.labels[number]) is not None

    def read(self, number: int) -> tuple[Tensor, tuple[int, int]]:
        """Return a (C, h, w) map and the size of its image.

        Raises:
            DataError: the file is missing, damaged, or of another image, teacher or format.
        """
        coded = load_checked(self.path(number), self.labels[number])
        if coded is None:
            raise DataError(
                f"{self.path(number)}: the cached logits were removed, damaged or replaced since the run began. "
                "Run the same command again with --resume: they are then computed anew."
            )
        height, width = coded["size"].tolist()
        return decode_logits(coded, self.classes), (height, width)

    def cut(self, index: int, sample: Sample) -> Tensor:
        """What the teacher says about the region that a sample of image `index` shows.

        The teacher saw the whole image: at scale 1, and not the sample's colours.

        Returns:
            (C, ceil(height / stride), ceil(width / stride)) float32, bilinear; where the sample is padded, the image's
            edge goes on.

        Raises:
            DataError: see `read`.
        """
        top, left, height, width, flipped = sample.geometry.tolist()
        whole, size = self.read(2 * index + int(flipped))
        if flipped:
            left = 1 - left - width
        top, height, rows = self._along(top, height, sample.label.shape[0], size[0], whole.shape[1])
        left, width, columns = self._along(left, width, sample.label.shape[1], size[1], whole.shape[2])
        return crop_map(whole[None], torch.tensor([Geometry(top, left, height, width, 0)]), (rows, columns))[0]

    def _along(self, start: float, part: float, length: int, whole: int, cells: int) -> tuple[float, float, int]:
        """Along one axis, from fractions of the image to fractions of the map: start and length; and the cells needed.

        A cell is `stride` pixels wide, also the last one, which reaches beyond a side that is no multiple of that.

        Args:
            start: of the region, over the side of the image.
            part: the region's length, over the same.
            length: of the sample, in pixels.
            whole: side of the fitted image, in pixels.
            cells: side of its map.
        """
        needed = ceil(length / self.stride)
        share = whole / (cells * self.stride)
        return start * share, part * share * needed * self.stride / length, needed
