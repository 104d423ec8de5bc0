"""What stands and moves at the roadside: trees, lamps, traffic signs, bins, pedestrians and bicyclists."""

import math
from collections.abc import Sequence

import numpy as np
from numpy.random import Generator

from fakd.data.sets.toy_scenes.canvas import (
    Array,
    Canvas,
    Colour,
    Floats,
    Kind,
    Pair,
    any_colour,
    jitter,
    shade,
    shades,
)

LEAVES: tuple[Colour, ...] = ((66, 98, 44), (88, 116, 54), (58, 84, 60), (150, 108, 48), (112, 122, 66))
LAMPS: tuple[Colour, ...] = ((240, 60, 50), (250, 190, 60), (70, 220, 130))
SKIN: tuple[Colour, ...] = ((226, 184, 156), (196, 146, 112), (142, 98, 72), (92, 64, 50))
METAL: tuple[Colour, ...] = ((92, 96, 100), (58, 62, 64), (140, 142, 142), (60, 78, 66))


def draw_tree(canvas: Canvas, rng: Generator, x: float, z: float) -> None:
    """A trunk and a crown of many leafy blobs, the lower ones darker; round, slender or a conifer."""
    height = rng.uniform(4.0, 9.0)
    shape = rng.choice(3, p=(0.6, 0.25, 0.15))
    spread = (rng.uniform(0.3, 0.42), 0.17, 0.24)[shape] * height
    clear = (rng.uniform(1.6, 2.6), 1.2, 0.5)[shape]
    (column, row), scale = canvas.camera.pixel(x, 0, z), canvas.camera.scale(z)
    girth = scale * height * 0.022
    top = row - scale * height * 0.7
    trunk = ((column - girth, row), (column + girth, row), (column + girth / 2, top), (column - girth / 2, top))
    canvas.polygon(trunk, jitter(rng, (82, 68, 56), 10), Kind.TREE, z)
    leaf = jitter(rng, LEAVES[rng.integers(len(LEAVES))], 8)
    blobs = int(np.clip(scale * 2.2, 14, 48))
    share = np.sort(rng.random(blobs) ** 0.8)
    reach = np.sqrt(np.clip(1 - (2 * share - 0.9) ** 2, 0.04, 1)) if shape != 2 else 1.05 - share
    side = rng.uniform(-1, 1, blobs) * reach * spread
    gains = 0.6 + 0.45 * share + 0.18 * side / spread * canvas.light.sun + rng.uniform(-0.12, 0.2, blobs)
    radii = rng.uniform(0.12, 0.26, blobs) * spread * (0.5 + 0.5 * reach) * 1.6
    rises = clear + share * (height - clear)
    _draw_leaves(canvas, column + scale * side, row - scale * rises, scale * radii, shades(leaf, gains), z)


def _draw_leaves(canvas: Canvas, columns: Floats, rows: Floats, radii: Floats, colours: Array, z: float) -> None:
    """Blobs of leaves, slightly broader than high."""
    boxes = np.stack((columns - 1.15 * radii, rows - radii, columns + 1.15 * radii, rows + radii), axis=1)
    canvas.ellipses(boxes, colours, Kind.TREE, z)


def draw_bush(canvas: Canvas, rng: Generator, x: float, z: float) -> None:
    """A low bush or a bit of hedge."""
    leaf = jitter(rng, LEAVES[rng.integers(3)], 8)
    (column, row), scale = canvas.camera.pixel(x, 0, z), canvas.camera.scale(z)
    width, height = rng.uniform(0.5, 1.6), rng.uniform(0.7, 1.5)
    across, up = rng.uniform((-width, 0.25), (width, height * 0.8), (14, 2)).T
    radii = scale * height * rng.uniform(0.15, 0.3, 14)
    _draw_leaves(canvas, column + scale * across, row - scale * up, radii, shades(leaf, 0.65 + 0.4 * up), z)


def draw_lamp(canvas: Canvas, rng: Generator, x: float, z: float) -> None:
    """A street lamp with an arm over the road, or a plain mast."""
    metal = jitter(rng, METAL[rng.integers(len(METAL))], 8)
    height, thick = rng.uniform(5.0, 9.0), canvas.camera.scale(z) * rng.uniform(0.2, 0.32)
    canvas.line(canvas.camera.project([x, x], [0, height], [z, z]), thick, metal, Kind.POLE, z)
    if rng.random() < 0.75:
        tip = x - math.copysign(rng.uniform(1.0, 2.2), x)
        arm = canvas.camera.project([x, (x + tip) / 2, tip], [height, height + 0.35, height + 0.4], [z] * 3)
        canvas.line(arm, thick * 0.7, metal, Kind.POLE, z)
        centre = canvas.camera.project(tip, height + 0.35, z)
        glow: Colour = (255, 226, 150) if canvas.light.lit_windows > 0.25 else (206, 206, 200)
        radius = canvas.camera.scale(z) * 0.3
        canvas.ellipse((centre[0], centre[1]), (radius, radius * 0.45), glow, Kind.POLE, z)


def draw_sign(canvas: Canvas, rng: Generator, x: float, z: float) -> None:
    """A traffic sign, or a traffic light with one of its lamps on, on its post; the lights count as signs too."""
    scale = canvas.camera.scale(z)
    height = rng.uniform(2.2, 3.0)
    foot, head = canvas.camera.project([x, x], [0, height], [z, z])
    post = jitter(rng, (128, 130, 132), 12)
    canvas.line(np.stack((foot, head)), scale * 0.12, post, Kind.POLE, z)
    size = scale * rng.uniform(0.42, 0.6)
    board = rng.integers(5)
    red, blue = jitter(rng, (196, 38, 40), 8), jitter(rng, (36, 82, 170), 8)
    white, dark = jitter(rng, (232, 232, 228), 6), (34.0, 34.0, 36.0)
    if board == 0:
        canvas.ellipse((head[0], head[1]), (size, size), red, Kind.TRAFFIC_SIGN, z)
        canvas.ellipse((head[0], head[1]), (size * 0.68, size * 0.68), white, None, z)
        canvas.line(head + np.array([(-0.3, 0), (0.3, 0)]) * size, size * 0.3, dark, None, z)
    elif board == 1:
        corners = np.array([(-1.1, 0.8), (1.1, 0.8), (0, -1.1)])
        canvas.polygon(head + corners * size, red, Kind.TRAFFIC_SIGN, z)
        canvas.polygon(head + (corners * 0.58 + (0, 0.08)) * size, white, None, z)
    elif board == 2:
        corners = np.array([(-1, -1), (1, -1), (1, 1), (-1, 1)])
        canvas.polygon(head + corners * size, white, Kind.TRAFFIC_SIGN, z)
        canvas.polygon(head + corners * size * 0.84, blue, None, z)
        canvas.polygon(head + np.array([(-0.5, 0.5), (0.5, 0.5), (0, -0.6)]) * size, white, None, z)
    elif board == 3:
        corners = np.array([(-1.6, -0.6), (1.3, -0.6), (1.8, 0), (1.3, 0.6), (-1.6, 0.6)])
        paint = (white, blue, jitter(rng, (222, 180, 40), 8))[rng.integers(3)]
        canvas.polygon(head + corners * size, paint, Kind.TRAFFIC_SIGN, z)
        canvas.line(head + np.array([(-1, 0), (1, 0)]) * size, size * 0.25, dark if paint[0] > 150 else white, None, z)
    else:
        corners = np.array([(-0.5, -1.4), (0.5, -1.4), (0.5, 1.4), (-0.5, 1.4)])
        canvas.polygon(corners * size + head, (30, 32, 32), Kind.TRAFFIC_SIGN, z)
        lit = rng.integers(3)
        for place, lamp in enumerate(LAMPS):
            colour = lamp if place == lit else shade(lamp, 0.3)
            lamp_centre = (head[0], head[1] + (place - 1) * 0.85 * size)
            canvas.ellipse(lamp_centre, (size * 0.36, size * 0.36), colour, None, z)


def draw_bin(canvas: Canvas, rng: Generator, x: float, z: float) -> None:
    """A bin, letter box or advertising column: part of no class, so labelled void."""
    foot, scale = canvas.camera.project(x, 0, z), canvas.camera.scale(z)
    width, height = rng.uniform(0.25, 0.5) * scale, rng.uniform(0.9, 2.2) * scale
    colour = any_colour(rng, 1.6)
    body = np.array([(-width, 0), (width, 0), (width * 1.05, -height), (-width * 1.05, -height)])
    canvas.polygon(foot + body, colour, Kind.VOID, z)
    canvas.polygon(foot + body * (1.1, 0.15) - (0, height * 0.85), shade(colour, 0.6), Kind.VOID, z)
    canvas.polygon(foot + body * (0.6, 0.3) - (0, height * 0.4), shade(colour, 1.4), None, z)


class Figure:
    """Strokes in metres on an upright plane that faces the camera at one place of the street."""

    def __init__(self, canvas: Canvas, x: float, z: float, kind: Kind, turn: float = 1.0) -> None:
        self._canvas, self._z, self._kind = canvas, z, kind
        self._column, self._row = canvas.camera.pixel(x, 0, z)
        self._scale = canvas.camera.scale(z)
        self._turn = turn
        """Foreshortening of the across axis; negative to face left."""

    def _pixels(self, points: Sequence[Pair]) -> list[Pair]:
        across = self._scale * self._turn
        return [(self._column + x * across, self._row - y * self._scale) for x, y in points]

    def shape(self, colour: Colour, *points: Pair) -> None:
        """Fill a polygon."""
        self._canvas.polygon(self._pixels(points), colour, self._kind, self._z)

    def limb(self, colour: Colour, width: float, *points: Pair) -> None:
        """Draw a line of `width` metres."""
        self._canvas.line(self._pixels(points), width * self._scale, colour, self._kind, self._z)

    def disc(self, colour: Colour | None, radius: float, centre: Pair, round_: bool = True) -> None:
        """Fill a disc, which stays round like a head or narrows like a wheel that turns."""
        column, row = self._pixels([centre])[0]
        across = radius if round_ else radius * max(abs(self._turn), 0.12)
        radii = (across * self._scale, radius * self._scale)
        self._canvas.ellipse((column, row), radii, colour, self._kind, self._z)


def draw_pedestrian(canvas: Canvas, rng: Generator, x: float, z: float) -> None:
    """Somebody who walks or stands, tall or small, in any clothes."""
    tall = rng.uniform(1.55, 1.9) if rng.random() < 0.85 else rng.uniform(1.0, 1.4)
    figure = Figure(canvas, x, z, Kind.PEDESTRIAN, float(rng.choice((-1.0, 1.0))))
    coat, trousers, skin = any_colour(rng, 1.3), any_colour(rng, 0.6), SKIN[rng.integers(len(SKIN))]
    hair = jitter(rng, (70, 54, 42), 22)
    stride = rng.uniform(0.02, 0.3)
    hip, neck = tall * 0.5, tall * 0.83
    figure.limb(shade(trousers, 0.8), 0.15, (0.05, hip), (0.05 + stride * 0.6, hip / 2), (stride, 0.04))
    figure.limb(trousers, 0.16, (-0.05, hip), (-0.02, hip / 2), (-0.05 - stride, 0.04))
    for foot in (stride, -0.05 - stride):
        figure.limb((34, 30, 30), 0.09, (foot - 0.05, 0.05), (foot + 0.12, 0.05))
    hem = hip - rng.uniform(0.0, 0.4) * hip
    flare = rng.uniform(0.16, 0.25)
    figure.shape(coat, (-flare, hem), (flare, hem), (0.19, neck), (-0.19, neck))
    figure.limb(shade(coat, 0.72), 0.11, (0.17, neck - 0.06), (0.22, hip * 1.25), (0.2 + stride * 0.5, hip))
    figure.limb(shade(coat, 0.85), 0.11, (-0.17, neck - 0.06), (-0.24, hip * 1.2), (-0.2 - stride * 0.3, hip))
    if rng.random() < 0.35:
        figure.shape(any_colour(rng, 1.2), (-0.4, hip), (-0.14, hip), (-0.14, hip + 0.3), (-0.4, hip + 0.3))
    figure.disc(hair, 0.125, (-0.015, tall - 0.1))
    figure.disc(skin, 0.1, (0.03, tall - 0.135))


def draw_bicyclist(canvas: Canvas, rng: Generator, x: float, z: float) -> None:
    """A rider on a bicycle, seen from the side or at a slant; both together are one class."""
    turn = float(rng.choice((-1.0, 1.0)) * rng.uniform(0.25, 1.0))
    figure = Figure(canvas, x, z, Kind.BICYCLIST, turn)
    frame, coat, trousers = any_colour(rng, 1.5), any_colour(rng, 1.3), any_colour(rng, 0.6)
    skin = SKIN[rng.integers(len(SKIN))]
    rear, front, pedals, saddle, bar = (-0.52, 0.34), (0.55, 0.34), (0.0, 0.32), (-0.2, 0.88), (0.42, 1.0)
    for hub in (rear, front):
        _draw_wheel(canvas, figure, rng, hub)
    figure.limb(frame, 0.06, rear, saddle, pedals, rear)
    figure.limb(frame, 0.06, pedals, (0.38, 0.8), saddle)
    figure.limb(frame, 0.06, front, bar, (0.5, 1.05))
    lean = rng.uniform(0.0, 0.25)
    shoulder = (0.02 + lean, 1.48 - lean * 0.4)
    broad = 0.14 / abs(turn) ** 0.5
    figure.limb(shade(trousers, 0.75), 0.14, (-0.18, 0.95), (0.18, 0.82), (0.08, 0.2))
    figure.limb(trousers, 0.15, (-0.18, 0.95), (0.22, 0.75), (-0.02, 0.4))
    back, chest = (shoulder[0] - broad, shoulder[1] + 0.04), (shoulder[0] + broad, shoulder[1])
    figure.shape(coat, (saddle[0] - broad, 0.9), (saddle[0] + broad, 0.86), chest, back)
    figure.limb(shade(coat, 0.8), 0.1, (shoulder[0], shoulder[1] - 0.05), (0.25, 1.12), bar)
    head = (shoulder[0] + 0.08, shoulder[1] + 0.2)
    figure.disc(skin, 0.11, head)
    helmet = any_colour(rng, 1.5) if rng.random() < 0.6 else jitter(rng, (70, 54, 42), 22)
    figure.disc(helmet, 0.115, (head[0] - 0.02, head[1] + 0.05))


def _draw_wheel(canvas: Canvas, figure: Figure, rng: Generator, hub: Pair) -> None:
    """A tyre drawn as a ring: what shows between the spokes is labelled with the bicycle."""
    figure.disc(None, 0.35, hub, round_=False)
    turn = np.linspace(0, 2 * np.pi, 15) + rng.uniform(0, 1)
    ring = [(hub[0] + 0.33 * math.cos(t), hub[1] + 0.33 * math.sin(t)) for t in turn.tolist()]
    figure.limb((28, 28, 30), 0.055, *ring)
    for t in turn[:8:2].tolist():
        across, up = 0.3 * math.cos(t), 0.3 * math.sin(t)
        figure.limb((120, 122, 124), 0.01, (hub[0] - across, hub[1] - up), (hub[0] + across, hub[1] + up))
