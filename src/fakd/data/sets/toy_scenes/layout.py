"""What stands where in a street: decided before anything is painted, so that shadows can be cast."""

from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import numpy as np
from numpy.random import Generator

from fakd.data.sets.toy_scenes.backdrop import Shadow, Street
from fakd.data.sets.toy_scenes.buildings import draw_fence, draw_house
from fakd.data.sets.toy_scenes.canvas import Canvas, Light, any_colour
from fakd.data.sets.toy_scenes.cars import draw_car, random_car
from fakd.data.sets.toy_scenes.roadside import (
    draw_bicyclist,
    draw_bin,
    draw_bush,
    draw_lamp,
    draw_pedestrian,
    draw_sign,
    draw_tree,
)

FAR = 80.0
"""Depth in metres up to which things are placed."""
LEGIBLE = 36.0
"""Depth in metres up to which lamps are placed: a mast farther away is thinner than a pixel."""


class Thing(NamedTuple):
    """Something to paint; larger z is painted first."""

    z: float
    draw: Callable[[Canvas], None]


Drawer = Callable[[Canvas, Generator, float, float], None]
"""Paints something that stands at (x, z)."""


def random_street(rng: Generator) -> Street:
    """A lane or an avenue, seen from one of its lanes; with a crossing and gardens or without."""
    width = rng.uniform(6.0, 14.0)
    left = -width * rng.uniform(0.4, 0.75)
    kerbs = (left, left + width)
    pavement = rng.uniform(1.8, 4.5, 2)
    near = rng.uniform(14, 45)
    crossing = (near, near + rng.uniform(7, 11)) if rng.random() < 0.4 else (0.0, 0.0)
    zebra = max(6.0, near - 5) if rng.random() < 0.45 else -1.0
    gardens = (bool(rng.random() < 0.5), bool(rng.random() < 0.5))
    return Street(kerbs, (kerbs[0] - pavement[0], kerbs[1] + pavement[1]), gardens, crossing, zebra)


def lay_out(rng: Generator, street: Street, light: Light) -> list[Thing]:
    """Everything that stands or moves in the street; adds the shadows it casts to the street."""
    planner = _Planner(rng, street, light)
    for side in (0, 1):
        planner.build_houses(side)
        if street.gardens[side]:
            planner.plant_garden(side)
        planner.furnish_pavement(side)
        planner.park_cars(side)
    planner.let_traffic_in()
    planner.let_people_in()
    return planner.things


class _Planner:
    """Puts things into a street, one sort of thing a method."""

    def __init__(self, rng: Generator, street: Street, light: Light) -> None:
        self.things: list[Thing] = []
        self._rng, self._street, self._light = rng, street, light

    def build_houses(self, side: int) -> None:
        """A row of houses along a side, some with gaps, set back where there is a garden."""
        rng, street = self._rng, self._street
        outward = (-1, 1)[side]
        setback = rng.uniform(7, 18) if street.gardens[side] else 0.0
        density = rng.uniform(0.35, 0.9) if street.gardens[side] else rng.uniform(0.75, 1.0)
        tall = rng.uniform(5.5, 18)
        z = rng.uniform(1.5, 6)
        while z < FAR:
            length = rng.uniform(7, 18)
            far = z + length
            if street.crossing[0] - 1 < far and z < street.crossing[1] + 1 and street.crossing[1] > 0:
                z = street.crossing[1] + 1.5
                continue
            if rng.random() < density:
                height = max(4.0, tall * rng.uniform(0.7, 1.35))
                x = street.edges[side] + outward * (setback + rng.uniform(0, 0.6))
                # Keyed by its far end: whatever stands before the front is nearer and painted later.
                self.things.append(Thing(far, partial(draw_house, rng=rng, x=x, z=(z, far), height=height)))
            z = far + (rng.uniform(0.0, 6.0) if rng.random() < 0.4 else 0.0)

    def plant_garden(self, side: int) -> None:
        """A fence along the pavement, trees and bushes behind it."""
        rng, street = self._rng, self._street
        outward, edge = (-1, 1)[side], street.edges[side]
        panel, style, colour = 2.5, int(rng.integers(3)), any_colour(rng, 0.8)
        if rng.random() < 0.45:
            for z in np.arange(rng.uniform(2, 5), 50, panel).tolist():
                if street.is_crossing(z) or street.is_crossing(z + panel):
                    continue
                start, end = (edge + outward * 0.1, z), (edge + outward * 0.1, z + panel)
                fence = partial(draw_fence, rng=rng, start=start, end=end, style=style, colour=colour)
                self.things.append(Thing(z + panel, fence))
        for _ in range(rng.integers(1, 5)):
            x, z = edge + outward * rng.uniform(1.5, 6), rng.uniform(6, 60)
            # A garden lies behind its fence: a panel's length is added to its key.
            self._put(draw_tree if rng.random() < 0.6 else draw_bush, x, z, 1.6, key=z + panel)

    def furnish_pavement(self, side: int) -> None:
        """Trees, lamps, signs and bins along the kerb."""
        rng, street = self._rng, self._street
        kerb = street.kerbs[side] + (-0.7, 0.7)[side]
        if rng.random() < 0.45:
            step = rng.uniform(8, 18)
            for z in np.arange(rng.uniform(6, 16), 80, step).tolist():
                self._put(draw_tree, kerb, z + rng.uniform(-1, 1), 1.8)
        if rng.random() < 0.75:
            for z in np.arange(rng.uniform(6, 16), LEGIBLE, rng.uniform(12, 22)).tolist():
                self._put(draw_lamp, kerb + rng.uniform(-0.2, 0.2), z, 0.15)
        for _ in range(rng.poisson(1.4)):
            self._put(draw_sign, kerb, rng.uniform(6, 20), 0.2)
        for _ in range(rng.poisson(0.35)):
            self._put(draw_bin, kerb + (-1, 1)[side] * rng.uniform(0, 0.8), rng.uniform(6, 30), 0.4)

    def park_cars(self, side: int) -> None:
        """Cars along the kerb, bumper to bumper or here and there."""
        rng, street = self._rng, self._street
        if rng.random() < 0.5:
            return
        x = street.kerbs[side] + (1.05, -1.05)[side]
        z = rng.uniform(6, 25)
        while z < 65:
            if rng.random() < 0.6 and not street.is_crossing(z):
                self._drive(x, z, 0.0 if rng.random() < 0.8 else np.pi)
            z += rng.uniform(5.6, 8)

    def let_traffic_in(self) -> None:
        """Cars in both directions and, at a crossing, across."""
        rng, street = self._rng, self._street
        left, right = street.kerbs
        for _ in range(rng.poisson(1.8)):
            oncoming = rng.random() < 0.5
            share = rng.uniform(0.2, 0.35) if oncoming else rng.uniform(0.6, 0.75)
            self._drive(left + share * (right - left), 8 + 50 * rng.random() ** 1.5, np.pi * oncoming)
        if street.crossing[1] > 0 and rng.random() < 0.6:
            z = rng.uniform(street.crossing[0] + 2, street.crossing[1] - 2)
            self._drive(rng.uniform(-12, 12), z, float(rng.choice((-np.pi / 2, np.pi / 2))))

    def let_people_in(self) -> None:
        """Pedestrians on the pavements and the zebra crossing, bicyclists near the kerb."""
        rng, street = self._rng, self._street
        for _ in range(rng.poisson(3.2)):
            side = rng.integers(2)
            kerb = street.kerbs[side] + (-0.6, 0.6)[side]
            x = kerb + (street.edges[side] - kerb) * rng.random()
            z = 5 + 16 * rng.random() ** 1.4
            for _ in range(1 + (rng.random() < 0.3)):
                self._put(draw_pedestrian, x, z, 0.35)
                x, z = x + rng.uniform(0.5, 0.8), z + rng.uniform(-0.3, 0.3)
        if street.zebra > 0 and rng.random() < 0.7:
            for _ in range(rng.integers(1, 4)):
                self._put(draw_pedestrian, rng.uniform(*street.kerbs), street.zebra + rng.uniform(0.5, 3), 0.35)
        for _ in range(rng.poisson(1.4)):
            side = rng.integers(2)
            x = street.kerbs[side] + (1, -1)[side] * rng.uniform(0.6, 2.4)
            self._put(draw_bicyclist, x, 6 + 14 * rng.random() ** 1.3, 0.5)

    def _put(self, draw: Drawer, x: float, z: float, breadth: float, key: float | None = None) -> None:
        """Stand something at (x, z), with its shadow, unless that is the middle of a crossing."""
        if self._street.is_crossing(z) and draw is not draw_pedestrian and draw is not draw_bicyclist:
            return
        self.things.append(Thing(z if key is None else key, lambda canvas: draw(canvas, self._rng, x, z)))
        if z < 30:
            depth = 0.35 if self._light.sun else 0.2
            self._street.shadows.append(Shadow(x - self._light.sun * breadth, z, breadth * 1.3, breadth, depth))

    def _drive(self, x: float, z: float, heading: float) -> None:
        """A car at (x, z), with the shadow below it."""
        car = random_car(self._rng, x, z, heading)
        self.things.append(Thing(z, partial(draw_car, rng=self._rng, car=car)))
        if z < 45:
            sideways = abs(np.sin(heading)) > 0.5
            across, along = (2.4, 1.1) if sideways else (1.1, 2.4)
            self._street.shadows.append(Shadow(x - 0.4 * self._light.sun, z, across, along, 0.55))
