"""What lies behind and below everything else: the sky and the ground, painted pixel by pixel."""

from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
from numpy.random import Generator

from fakd.data.sets.toy_scenes.canvas import Array, Bytes, Camera, Colour, Kind, Light, Pair, jitter, smooth_noise

BLOCK = 8.0
"""Metres of street over which the shadow of the houses keeps its length."""


class Shadow(NamedTuple):
    """A soft dark ellipse on the ground, in metres."""

    x: float
    z: float
    across: float
    along: float
    depth: float
    """0 is no shadow, 1 is black."""


@dataclass(frozen=True)
class Street:
    """A street's cross-section, its crossing, and what is painted on it; metres."""

    kerbs: Pair
    """x of the left and the right kerb."""
    edges: Pair
    """x at which the pavements end: house fronts or gardens begin there."""
    gardens: tuple[bool, bool]
    """Whether grass, not a house front, borders the left and the right pavement."""
    crossing: Pair
    """z between which another street crosses; an empty range for none."""
    zebra: float
    """z at which a zebra crossing starts; negative for none."""
    shadows: list[Shadow] = field(default_factory=list)

    def is_crossing(self, z: float) -> bool:
        """Whether depth z lies in the crossing."""
        return self.crossing[0] <= z <= self.crossing[1]


def paint_sky(rng: Generator, size: tuple[int, int], camera: Camera, light: Light) -> Array:
    """(H, W, 3) sky: a gradient, clouds, and a glow where the sun stands; black well below the horizon."""
    width = size[1]
    picture = np.zeros((*size, 3), np.float32)
    height = min(size[0], int(camera.horizon) + 2)
    rise = np.clip(1 - np.arange(height, dtype=np.float32) / max(camera.horizon, 1), 0, 1)[:, None, None]
    sky = np.array(light.sky_low, np.float32) * (1 - rise) + np.array(light.sky_top, np.float32) * rise
    clouds = smooth_noise(rng, (4, 6), (height, width)) + 0.5 * smooth_noise(rng, (9, 16), (height, width))
    cover = np.clip((clouds + 2 * light.cloud - 1) * 1.3, 0, 1)[..., None] * min(1, 0.4 + light.cloud)
    white = np.array(light.sky_low, np.float32) * np.float32(rng.uniform(0.85, 1.15))
    sky = sky * (1 - cover) + white * cover
    if light.sun:
        sun = width * (0.5 + light.sun * rng.uniform(0.2, 0.7))
        far = np.abs(np.arange(width, dtype=np.float32) - sun)[None, :, None] / width
        sky = sky + 45 * np.exp(-4 * far) * (1 - rise)
    picture[:height] = sky
    return picture


def paint_ground(
    rng: Generator, size: tuple[int, int], camera: Camera, light: Light, street: Street
) -> tuple[int, Array, Bytes]:
    """First row, (h, W, 3) picture and (h, W) labels of everything below the horizon."""
    top, x, z = camera.ground(*size)
    labels = _ground_labels(x, z, street)
    picture = _ground_colours(rng, light)[labels]
    slab, seam = rng.uniform(0.6, 1.4), 0.05 + z * 0.002
    tiles = (np.mod(x, slab) < seam) | (np.mod(z, slab * 1.5) < 2 * seam)
    grain = _grain(rng, x, z)
    near = np.exp(-z / 25)
    strength = np.zeros(len(Kind), np.float32)
    strength[[Kind.ROAD, Kind.PAVEMENT, Kind.GRASS]] = rng.uniform((7, 7, 16), (16, 18, 38))
    picture += (grain * strength[labels] * (0.35 + near))[..., None]
    picture -= (tiles & (labels == Kind.PAVEMENT))[..., None] * (np.float32(28) * near[..., None])
    _paint_kerbs(picture, x, street, labels)
    _paint_marks(rng, picture, x, z, street, labels)
    if rng.random() < 0.3:
        _paint_puddles(rng, picture, light, labels)
    picture *= _shadow_gain(rng, x, z, light, street)[..., None]
    clear = np.exp(-z / light.visibility)[..., None]
    return top, picture * clear + np.array(light.sky_low, np.float32) * (1 - clear), labels


def _ground_labels(x: Array, z: Array, street: Street) -> Bytes:
    """Road between the kerbs and in the crossing, pavement up to the edges, gardens beyond."""
    labels = np.full(x.shape, Kind.PAVEMENT, np.uint8)
    if street.gardens[0]:
        labels[x < street.edges[0]] = Kind.GRASS
    if street.gardens[1]:
        labels[x > street.edges[1]] = Kind.GRASS
    across = (z > street.crossing[0]) & (z < street.crossing[1])
    labels[((x > street.kerbs[0]) & (x < street.kerbs[1])) | across] = Kind.ROAD
    return labels


def _ground_colours(rng: Generator, light: Light) -> Array:
    """One base colour a class; only the three of the ground are used."""
    asphalt = jitter(rng, (98, 98, 102), 16)
    slabs: list[Colour] = [(150, 146, 140), (172, 164, 150), (142, 112, 100), (104, 106, 110)]
    lawns: list[Colour] = [(92, 128, 58), (118, 138, 70), (140, 132, 82), (76, 104, 52)]
    colours = np.zeros((len(Kind), 3), np.float32)
    colours[Kind.ROAD] = asphalt
    colours[Kind.PAVEMENT] = jitter(rng, slabs[rng.integers(len(slabs))], 10)
    colours[Kind.GRASS] = jitter(rng, lawns[rng.integers(len(lawns))], 10)
    return colours


def _grain(rng: Generator, x: Array, z: Array) -> Array:
    """Noise fixed to the ground, so that it gets finer with distance: sampled from a small random table."""
    table = rng.standard_normal((64, 64)).astype(np.float32)
    fine = table[(z * 5).astype(np.int32) & 63, (x * 9).astype(np.int32) & 63]
    coarse = table[(z * 0.6).astype(np.int32) & 63, (x * 1.3).astype(np.int32) & 63]
    return np.asarray(0.8 * fine + 0.5 * coarse, np.float32)


def _paint_kerbs(picture: Array, x: Array, street: Street, labels: Bytes) -> None:
    """A paler rim of stone on either side of the road."""
    rim = (np.abs(x - (street.kerbs[0] - 0.12)) < 0.14) | (np.abs(x - (street.kerbs[1] + 0.12)) < 0.14)
    rim &= labels == Kind.PAVEMENT
    picture[rim] = picture[rim] * 0.4 + 105


def _paint_marks(rng: Generator, picture: Array, x: Array, z: Array, street: Street, labels: Bytes) -> None:
    """Lane lines and the zebra crossing: worn paint, which still is road."""
    left, right = street.kerbs
    lines = np.zeros(x.shape, bool)
    lanes = max(2, round((right - left) / rng.uniform(3.2, 4.6)))
    for lane in np.linspace(left, right, lanes + 1)[1:-1]:
        dashed = np.mod(z + rng.uniform(0, 6), 6) < rng.uniform(2, 4)
        lines |= (np.abs(x - lane) < 0.1) & dashed
    if rng.random() < 0.5:
        lines |= (np.abs(x - left - 0.4) < 0.08) | (np.abs(x - right + 0.4) < 0.08)
    if street.zebra > 0:
        bars = (z > street.zebra) & (z < street.zebra + 3.5)
        lines = np.where(bars, np.mod(x, 1.0) < 0.5, lines)
    lines &= (labels == Kind.ROAD) & ~((z > street.crossing[0]) & (z < street.crossing[1]))
    paint = np.array((225, 222, 205) if rng.random() < 0.8 else (214, 178, 70), np.float32)
    wear = np.float32(rng.uniform(0.45, 0.95))
    picture[lines] = picture[lines] * (1 - wear) + paint * wear


def _paint_puddles(rng: Generator, picture: Array, light: Light, labels: Bytes) -> None:
    """Flat puddles that mirror the sky: its colour alone does not make a pixel sky."""
    wet = smooth_noise(rng, (12, 5), labels.shape[:2]) > rng.uniform(0.35, 0.7)
    wet &= labels == Kind.ROAD
    picture[wet] = picture[wet] * 0.45 + np.array(light.sky_low, np.float32) * 0.5


def _shadow_gain(rng: Generator, x: Array, z: Array, light: Light, street: Street) -> Array:
    """What shadows leave of the light on the ground."""
    gain = np.ones(x.shape, np.float32)
    if light.sun:
        reach = rng.uniform(-2, 7, 64).astype(np.float32)[np.minimum(z / BLOCK, 63).astype(np.int32)]
        edge = street.edges[1] - reach if light.sun > 0 else street.edges[0] + reach
        gain[(x > edge) if light.sun > 0 else (x < edge)] = rng.uniform(0.45, 0.7)
    for shadow in street.shadows:
        behind = ((z[:, 0] - shadow.z) / shadow.along) ** 2
        rows = np.flatnonzero(behind < 1.6)
        if len(rows):
            near = slice(rows[0], rows[-1] + 1)  # z falls from row to row, so these rows are neighbours
            away = ((x[near] - shadow.x) / shadow.across) ** 2 + behind[near, None]
            gain[near] *= 1 - shadow.depth * np.clip(1.6 - away, 0, 1)
    return gain
