"""Pedestrians and bicyclists: strokes on an upright plane that faces the camera."""

import math
from collections.abc import Sequence

import numpy as np
from numpy.random import Generator

from fakd.data.sets.toy_scenes.canvas import Canvas, Colour, Kind, Pair, any_colour, jitter, shade

SKIN: tuple[Colour, ...] = ((226, 184, 156), (196, 146, 112), (142, 98, 72), (92, 64, 50))


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
    figure.shape(
        coat,
        (saddle[0] - broad, 0.9),
        (saddle[0] + broad, 0.86),
        (shoulder[0] + broad, shoulder[1]),
        (shoulder[0] - broad, shoulder[1] + 0.04),
    )
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
        reach = (0.3 * math.cos(t), 0.3 * math.sin(t))
        figure.limb(
            (120, 122, 124), 0.01, (hub[0] - reach[0], hub[1] - reach[1]), (hub[0] + reach[0], hub[1] + reach[1])
        )
