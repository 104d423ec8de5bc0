"""Outlines, runs and bitmaps as pixels, by pycocotools, which defines what a polygon of COCO covers.

Coordinates are those of the image's plane: the first pixel reaches from 0 to 1, so a rectangle from 2 to 6 covers four
pixels.
"""

import base64
import math
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from io import BytesIO
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
from PIL import Image

from fakd.data.extras import required

Box = tuple[float, float, float, float]
"""Left, top, right, bottom."""
Runs = dict[str, Any]
"""A mask as pycocotools packs it: run lengths, column by column."""

_CORNERS = 3
_CIRCLE = 90  # corners; of a circle of radius 1000 they leave out half a pixel


class Geometry(Protocol):
    """What a shape covers."""

    @property
    def box(self) -> Box:
        """What it lies in."""

    def runs(self, height: int, width: int) -> Runs:
        """The pixels of an image of that size that it covers."""


@dataclass(frozen=True)
class Polygons:
    """One or more outlines; what any of them encloses is covered."""

    outlines: Sequence[npt.NDArray[np.float64]]
    """(corners, 2) each, x before y."""

    @property
    def box(self) -> Box:
        corners = np.concatenate(self.outlines)
        (left, top), (right, bottom) = corners.min(0).tolist(), corners.max(0).tolist()
        return left, top, right, bottom

    def runs(self, height: int, width: int) -> Runs:
        mask = mask_library()
        packed: Runs = mask.merge(mask.frPyObjects([line.flatten().tolist() for line in self.outlines], height, width))
        return packed


@dataclass(frozen=True)
class RunLengths:
    """Run lengths as COCO writes them: numbers, or packed into text."""

    counts: list[int] | str
    size: tuple[int, int]
    """(height, width) of the image that they are of."""

    @property
    def box(self) -> Box:
        return 0, 0, self.size[1], self.size[0]

    def runs(self, height: int, width: int) -> Runs:
        if self.size != (height, width):
            raise ValueError(f"its run lengths are of {self.size[1]}x{self.size[0]} pixels")
        # pycocotools would fill what is left over with whatever is in memory
        counts = _unpacked(self.counts) if isinstance(self.counts, str) else self.counts
        if not all(isinstance(count, int) and count >= 0 for count in counts) or sum(counts) != height * width:
            raise ValueError(f"its run lengths do not fill {width}x{height} pixels")
        packed: Runs = mask_library().frPyObjects({"size": [height, width], "counts": counts}, height, width)
        return packed


@dataclass(frozen=True)
class Bitmap:
    """Pixels, and where their first one lies in the image."""

    pixels: npt.NDArray[np.bool_]
    left: int
    top: int

    @property
    def box(self) -> Box:
        height, width = self.pixels.shape
        return self.left, self.top, self.left + width, self.top + height

    def runs(self, height: int, width: int) -> Runs:
        whole = np.zeros((height, width), dtype=np.uint8, order="F")
        left, top, right, bottom = (int(side) for side in self.box)
        inside = self.pixels[max(0, -top) : height - top, max(0, -left) : width - left]
        whole[max(0, top) : min(bottom, height), max(0, left) : min(right, width)] = inside
        packed: Runs = mask_library().encode(whole)
        return packed


def _unpacked(text: str) -> list[int]:
    """The numbers of packed run lengths: five bits a character, and a difference to the last but one from the third on.

    Example:
        >>> _unpacked("52203O0")
        [5, 2, 2, 2, 5, 1, 5]
    """
    counts: list[int] = []
    number = shift = 0
    for character in text:
        bits = ord(character) - ord("0")
        number |= (bits & 31) << shift
        shift += 5
        if not bits & 32:
            number -= (bits & 16) << (shift - 4)  # the sign
            counts.append(number + (counts[-2] if len(counts) > 2 else 0))
            number = shift = 0
    return counts


def polygon(points: Any) -> Polygons:
    """The outline through three or more points.

    Args:
        points: [[x, y], ...] or [x, y, x, y, ...].

    Raises:
        ValueError: they are fewer, or no pairs of finite numbers.
    """
    try:
        corners = np.asarray(points, dtype=np.float64).reshape(-1, 2)
    except (TypeError, ValueError):
        raise ValueError("its points are no pairs of numbers") from None
    if len(corners) < _CORNERS:
        raise ValueError(f"its outline has {len(corners)} corners, expected three or more")
    if not np.isfinite(corners).all():
        raise ValueError("a corner of its outline is no finite number")
    return Polygons([corners])


def rectangle(points: Any) -> Polygons:
    """The rectangle between two opposite corners, [[x, y], [x, y]].

    Raises:
        ValueError: they are not.
    """
    (left, top), (right, bottom) = _two(points)
    return polygon([[left, top], [right, top], [right, bottom], [left, bottom]])


def circle(points: Any) -> Polygons:
    """The circle around the first point through the second.

    Raises:
        ValueError: they are not two points.
    """
    (x, y), (other_x, other_y) = _two(points)
    radius = math.hypot(other_x - x, other_y - y)
    angles = np.linspace(0, 2 * np.pi, _CIRCLE, endpoint=False)
    return polygon(np.stack([x + radius * np.cos(angles), y + radius * np.sin(angles)], axis=1))


def png_pixels(text: Any, unpacked: Callable[[bytes], bytes] = bytes) -> npt.NDArray[np.bool_]:
    """What a PNG marks: its opaque pixels, or where it has no transparency those that are not 0.

    Args:
        text: the PNG in base64.
        unpacked: what gives it back where it was packed before.

    Raises:
        ValueError: it is none.
    """
    try:
        with Image.open(BytesIO(unpacked(base64.b64decode(text))), formats=["PNG"]) as picture:
            opaque = "A" in picture.getbands() or "transparency" in picture.info
            marked = picture.convert("RGBA").getchannel("A") if opaque else picture.convert("L")
            return np.asarray(marked) > 0
    except (TypeError, ValueError, zlib.error, OSError, SyntaxError, Image.DecompressionBombError) as error:
        raise ValueError(f"its mask is not readable as a PNG ({error})") from error


def _two(points: Any) -> Any:
    match points:
        case [[int() | float(), int() | float()], [int() | float(), int() | float()]]:
            return points
    raise ValueError(f"it has the points {points}, expected two pairs of numbers")


def mask_library() -> Any:
    """Import pycocotools' masks, as `required` does."""
    return required("pycocotools.mask", "import", "shapes need")
