"""Windows of resized images and masks, and where in their images they lie."""

from collections.abc import Callable
from math import ceil
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.nn.functional import interpolate


class Geometry(NamedTuple):
    """The region that a sample shows; as fractions of the image, so it serves maps of any resolution.

    Pixel (i, j) of a sample of h x w pixels has its centre at `top + (i + 0.5) / h * height` down the image and
    `left + (j + 0.5) / w * width` across it, or `left + (w - j - 0.5) / w * width` when flipped. Of a batch, each
    field holds one number a sample: `Geometry(*batch.geometry.unbind(-1))`.
    """

    top: float | Tensor
    """Upper edge of the region over the image's height; negative where the sample is padded."""
    left: float | Tensor
    """Left edge over the image's width."""
    height: float | Tensor
    """Height of the region over that of the image. The scale is the sample's height over this times the image's."""
    width: float | Tensor
    """Width over that of the image."""
    flipped: float | Tensor
    """1 if the region was then flipped from left to right, else 0."""


WHOLE_IMAGE = torch.tensor(Geometry(0, 0, 1, 1, 0), dtype=torch.float32)
"""(5,) the geometry of a sample that shows its whole image."""


class Window(NamedTuple):
    """A rectangle in the pixels of a resized image; it may reach beyond."""

    top: int
    left: int
    height: int
    width: int

    def within(self, size: tuple[int, int]) -> tuple[slice, slice]:
        """Return the rows and columns of the image of this (height, width) that the window shows."""
        return (
            slice(max(self.top, 0), min(self.top + self.height, size[0])),
            slice(max(self.left, 0), min(self.left + self.width, size[1])),
        )

    def filled(self, part: Tensor, size: tuple[int, int], flipped: bool, fill: Tensor) -> Tensor:
        """Return the whole window, given the (..., rows, columns) of it that lie `within` the image.

        Args:
            part: These pixels; turned from left to right if `flipped`, as the result is.
            size: (height, width) of the image.
            flipped: See `part`.
            fill: (...) value of the others.
        """
        if part.shape[-2:] == (self.height, self.width):
            return part
        rows, columns = self.within(size)
        padded = fill[..., None, None].expand(*part.shape[:-2], self.height, self.width).clone()
        down = rows.start - self.top
        right = self.left + self.width - columns.stop if flipped else columns.start - self.left
        padded[..., down : down + part.shape[-2], right : right + part.shape[-1]] = part
        return padded

    def geometry(self, size: tuple[int, int], flipped: bool) -> Geometry:
        """Return the region that the window shows of an image resized to `size`, once flipped or not."""
        height, width = size
        return Geometry(self.top / height, self.left / width, self.height / height, self.width / width, float(flipped))


def resized_window(
    image: Tensor,
    size: tuple[int, int],
    window: Window,
    flipped: bool,
    fill: tuple[int, ...],
    change: Callable[[Tensor], Tensor] | None = None,
) -> Tensor:
    """Give what a window shows of the image resized to `size` (antialiased bilinear), without resizing all of it.

    Torch's kernel is several times faster than those that can start between two pixels, but its grid must start
    at an edge of what it is given. So the window is grown to the nearest corner of the image, where the grids of the
    image and of its resized copy meet: the result is that of resizing everything, but for roundings of one grey level.

    Args:
        image: (3, H, W) uint8; fastest where the channels of a pixel lie side by side in memory.
        size: (height, width) of the whole image once resized.
        window: In the pixels of the resized image.
        flipped: Whether the window is turned from left to right.
        fill: Colour beyond the image.
        change: Applied to what the window shows of the image, before the rest is filled.

    Returns:
        (3, window height, window width) uint8.
    """
    rows, columns = window.within(size)
    if size == image.shape[-2:]:
        part = image[:, rows, columns].flip([-1] if flipped else [])
    else:
        down, right = _reach(image.shape[-2], size[0], rows), _reach(image.shape[-1], size[1], columns)
        corner = _mirrored(image[:, down.source, right.source], down.mirrored, right.mirrored)[None]
        resized = interpolate(
            corner.contiguous(memory_format=torch.channels_last),
            scale_factor=(down.factor, right.factor),
            mode="bilinear",
            antialias=True,
        )[0]
        part = _mirrored(resized[:, down.target, right.target], down.mirrored, right.mirrored != flipped)
    if change is not None:
        part = change(part)
    return window.filled(part, size, flipped, torch.tensor(fill, dtype=torch.uint8))


def resized_label_window(label: Tensor, size: tuple[int, int], window: Window, flipped: bool, fill: int) -> Tensor:
    """Give what `resized_window` does, of an (H, W) uint8 mask resized by torch's "nearest-exact"."""
    rows, columns = window.within(size)
    down, right = _nearest(label.shape[0], size[0], rows), _nearest(label.shape[1], size[1], columns)
    # NumPy, as torch's index_select takes four times as long along columns.
    picked = label.numpy().take(down, axis=0).take(right[::-1] if flipped else right, axis=1)
    return window.filled(torch.from_numpy(picked), size, flipped, torch.tensor(fill, dtype=torch.uint8))


class _Reach(NamedTuple):
    """What a window needs along one axis, seen from the nearest edge of the image."""

    mirrored: bool
    """Whether that is the far edge."""
    source: slice
    """Pixels of the image to resize."""
    target: slice
    """Where the window lies in them once mirrored and resized."""
    factor: float
    """Resized pixels per pixel."""


def _reach(length: int, resized: int, part: slice) -> _Reach:
    mirrored = resized - part.stop < part.start
    target = slice(resized - part.stop, resized - part.start) if mirrored else part
    # A little more than the ratio, or interpolate may round its own output size down by a pixel.
    factor = (resized + 1e-6) / length
    # The filter reaches a pixel of the coarser of the two grids to either side.
    needed = min(length, ceil((target.stop + max(factor, 1)) / factor))
    if int(needed * factor) == needed:  # torch would leave this axis as it is, for its size stays the same
        needed = length
    source = slice(length - needed, length) if mirrored else slice(needed)
    return _Reach(mirrored, source, target, factor)


def _mirrored(image: Tensor, down: bool, across: bool) -> Tensor:
    axes = [axis for axis, mirrored in ((-2, down), (-1, across)) if mirrored]
    return image.flip(axes) if axes else image


def _nearest(length: int, resized: int, part: slice) -> npt.NDArray[np.int64]:
    # Single precision, as in torch: it decides where a centre falls on the border of two pixels.
    centres = np.arange(part.start, part.stop, dtype=np.float32) + np.float32(0.5)
    nearest: npt.NDArray[np.int64] = (centres * np.float32(length / resized)).astype(np.int64)
    return np.minimum(nearest, length - 1, out=nearest)
