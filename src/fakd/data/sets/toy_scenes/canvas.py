"""The classes, the camera, the light, and the canvas on which picture and labels are painted together."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from enum import IntEnum

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray
from PIL import Image, ImageDraw

Array = NDArray[np.float32]
Floats = NDArray[np.float64]
Bytes = NDArray[np.uint8]
Pair = tuple[float, float]
Colour = tuple[float, float, float]
Numbers = float | Sequence[float] | Floats | Array
Points = Floats | Sequence[Pair]
"""(column, row) pixels."""

NEAREST = 1.2
"""Metres in front of the camera at which geometry is cut off: a division by depth must not run away."""


class Kind(IntEnum):
    """What a pixel shows; the value is its class index in the label map."""

    ROAD = 0
    PAVEMENT = 1
    BUILDING = 2
    FENCE = 3
    POLE = 4
    TRAFFIC_SIGN = 5
    TREE = 6
    GRASS = 7
    SKY = 8
    PEDESTRIAN = 9
    BICYCLIST = 10
    CAR = 11
    VOID = 255


CLASSES: tuple[str, ...] = tuple(kind.name.lower().replace("_", " ") for kind in Kind if kind != Kind.VOID)

# The colours Cityscapes gives its nearest class, so that a coloured map reads at a glance.
# fmt: off
PALETTE: tuple[tuple[int, int, int], ...] = (
    (128, 64, 128), (244, 35, 232), (70, 70, 70), (190, 153, 153), (153, 153, 153), (220, 220, 0),
    (107, 142, 35), (152, 251, 152), (70, 130, 180), (220, 20, 60), (119, 11, 32), (0, 0, 142),
)
# fmt: on


@dataclass(frozen=True)
class Camera:
    """A pinhole camera at the origin of a street that runs along z, x to the right, y up, in metres."""

    focal: float
    """In pixels of the canvas."""
    centre: float
    """Column in which the street vanishes if it does not bend."""
    horizon: float
    """Row of the horizon."""
    height: float
    """Of the camera above the road."""
    bend: float
    """The street's sideways shift at depth z is bend * z**2, in metres."""

    def project(self, x: Numbers, y: Numbers, z: Numbers) -> Floats:
        """Pixels (column, row) of world points, in a new last axis."""
        scale = self.focal / np.maximum(z, NEAREST)
        columns = scale * x + (self.focal**2 * self.bend / scale + self.centre)
        rows = self.horizon + scale * np.subtract(self.height, y)
        points = np.empty((*(columns + rows).shape, 2))
        points[..., 0], points[..., 1] = columns, rows
        return points

    def pixel(self, x: float, y: float, z: float) -> Pair:
        """`project` for a single point, without numpy's cost a call."""
        depth = max(z, NEAREST)
        column = self.centre + self.focal * (x / depth + self.bend * depth)
        return column, self.horizon + self.focal / depth * (self.height - y)

    def scale(self, z: float) -> float:
        """Pixels in a metre at depth z."""
        return self.focal / max(z, NEAREST)

    def ground(self, height: int, width: int) -> tuple[int, Array, Array]:
        """First row below the horizon; from there down, x of every pixel (h, W) and z of every row (h, 1)."""
        top = max(0, math.floor(self.horizon) + 1)
        rows = np.arange(top, height, dtype=np.float32)[:, None] + 0.5
        columns = np.arange(width, dtype=np.float32)[None, :] + 0.5
        z = (self.focal * self.height / (rows - self.horizon)).astype(np.float32)
        x = (columns - self.centre) * (z / self.focal) - self.bend * z * z
        return top, x.astype(np.float32), z


@dataclass(frozen=True)
class Light:
    """The hour and the weather."""

    sky_top: Colour
    sky_low: Colour
    """Colour of the sky at the horizon, into which far things fade."""
    sun: float
    """-1 for a low sun on the left, 1 for one on the right, 0 for none: sets shading and cast shadows."""
    visibility: float
    """Metres in which contrast falls to 1/e."""
    lit_windows: float
    """Share of windows with the light on."""
    cast: Colour
    """Gain of each colour channel, brightness included."""
    cloud: float
    """From 0, a clear sky, to 1."""


class Canvas:
    """A picture and its label map, painted far to near by the same strokes."""

    def __init__(self, picture: Bytes, labels: Bytes, camera: Camera, light: Light):
        self.camera = camera
        self.light = light
        self.picture = Image.fromarray(picture)
        self.labels = Image.fromarray(labels)
        self._paint = ImageDraw.Draw(self.picture)
        self._mark = ImageDraw.Draw(self.labels)

    def polygon(self, points: Points, colour: Colour | None, kind: Kind | None, z: float) -> None:
        """Fill a polygon given in pixels, at depth z; None leaves the picture or the labels alone."""
        flat = _flat(points)
        if colour is not None:
            self._paint.polygon(flat, fill=self._ink(colour, z))
        if kind is not None:
            self._mark.polygon(flat, fill=int(kind))

    def polygons(self, points: Floats, colours: Array, z: float) -> None:
        """Fill many polygons, (n, corners, 2), each in its own colour, in the picture only."""
        inks = self._inks(colours, z)
        for flat, ink in zip(points.reshape(len(points), -1).tolist(), inks, strict=True):
            self._paint.polygon(flat, fill=ink)

    def lines(self, points: Floats, width: float, colours: Array, z: float) -> None:
        """Draw many lines, (n, corners, 2), each in its own colour, in the picture only."""
        thick = max(1, round(width))
        inks = self._inks(colours, z)
        for flat, ink in zip(points.reshape(len(points), -1).tolist(), inks, strict=True):
            self._paint.line(flat, fill=ink, width=thick)

    def line(self, points: Points, width: float, colour: Colour, kind: Kind | None, z: float) -> None:
        """Draw a broken line; `width` in pixels."""
        flat = _flat(points)
        thick = max(1, round(width))
        joint = "curve" if thick > 3 else None
        self._paint.line(flat, fill=self._ink(colour, z), width=thick, joint=joint)
        if kind is not None:
            # At least two pixels: a label thinner than that may fall between the samples of the reduction.
            self._mark.line(flat, fill=int(kind), width=max(2, thick), joint=joint)

    def ellipse(self, centre: Pair, radii: Pair, colour: Colour | None, kind: Kind | None, z: float) -> None:
        """Fill an upright ellipse given in pixels."""
        (column, row), (across, up) = centre, radii
        box = (column - across, row - up, column + across, row + up)
        if colour is not None:
            self._paint.ellipse(box, fill=self._ink(colour, z))
        if kind is not None:
            self._mark.ellipse(box, fill=int(kind))

    def ellipses(self, boxes: Floats, colours: Array, kind: Kind, z: float) -> None:
        """Fill many upright ellipses given by their bounding boxes, (n, 4)."""
        for box, ink in zip(boxes.tolist(), self._inks(colours, z), strict=True):
            self._paint.ellipse(box, fill=ink)
            self._mark.ellipse(box, fill=int(kind))

    def _inks(self, colours: Array, z: float) -> list[tuple[int, int, int]]:
        """`_ink` for an (n, 3) array."""
        clear = math.exp(-z / self.light.visibility)
        seen = colours * clear + np.array(self.light.sky_low, np.float32) * (1 - clear)
        return list(map(tuple, seen.clip(0, 255).astype(np.uint8).tolist()))

    def _ink(self, colour: Colour, z: float) -> tuple[int, int, int]:
        """The colour as seen through the air, 0-255."""
        clear = math.exp(-z / self.light.visibility)
        red, green, blue = colour
        air = self.light.sky_low
        # Written out: this runs a thousand times a scene.
        return (
            min(255, max(0, int(red * clear + air[0] * (1 - clear)))),
            min(255, max(0, int(green * clear + air[1] * (1 - clear)))),
            min(255, max(0, int(blue * clear + air[2] * (1 - clear)))),
        )


def _flat(points: Points) -> list[float]:
    """The coordinates as Pillow takes them fastest: column, row, column, row, ..."""
    if isinstance(points, np.ndarray):
        flat: list[float] = points.ravel().tolist()
        return flat
    return [coordinate for point in points for coordinate in point]


def shades(colour: Colour, gains: Numbers) -> Array:
    """`shade` for many gains: (n, 3)."""
    return np.multiply.outer(np.asarray(gains, np.float32), np.array(colour, np.float32))


def shade(colour: Colour, gain: float) -> Colour:
    """The colour, brighter or darker."""
    red, green, blue = colour
    return red * gain, green * gain, blue * gain


def jitter(rng: Generator, colour: Colour, spread: float) -> Colour:
    """A colour near the one given: a common change of brightness and a smaller one of each channel."""
    common, red, green, blue = (rng.standard_normal(4) * spread).tolist()
    return colour[0] + common + red / 3, colour[1] + common + green / 3, colour[2] + common + blue / 3


def any_colour(rng: Generator, vivid: float = 1.0) -> Colour:
    """A random colour, grey for `vivid` 0: cars, coats and houses all draw from here, so hue tells little."""
    grey = rng.uniform(25, 225)
    spread = vivid * rng.uniform(0, 75)
    red, green, blue = (grey + spread * rng.uniform(-1, 1, 3)).tolist()
    return red, green, blue


def smooth_noise(rng: Generator, cells: tuple[int, int], size: tuple[int, int]) -> Array:
    """Noise in about [-1, 1] of shape `size`, interpolated from a coarse grid of `cells`."""
    coarse = rng.uniform(-1, 1, cells).astype(np.float32)
    return np.asarray(Image.fromarray(coarse).resize(size[::-1], Image.Resampling.BICUBIC), np.float32)
