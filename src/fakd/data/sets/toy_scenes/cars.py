"""Cars: a side view extruded across the width, painted face by face."""

import math
from typing import NamedTuple

import numpy as np
from numpy.random import Generator

from fakd.data.sets.toy_scenes.canvas import Canvas, Colour, Floats, Kind, Pair, any_colour, shade


class Body(NamedTuple):
    """The side view of a kind of car, which is extruded across its width."""

    length: float
    width: float
    profile: tuple[Pair, ...]
    """From the lower rear up over the roof to the lower front: share of the length, metres above the road."""
    rear_glass: int
    """Which edge of the profile holds the rear window; -1 for none."""
    windscreen: int
    panes: tuple[tuple[Pair, ...], ...]
    """Side windows in the coordinates of the profile."""


# fmt: off
SALOON = Body(
    4.5, 1.8,
    ((-0.5, 0.3), (-0.5, 0.95), (-0.38, 1.0), (-0.25, 1.45), (0.08, 1.45), (0.25, 1.0), (0.48, 0.85), (0.5, 0.3)), 2, 4,
    (((-0.33, 1.0), (-0.23, 1.37), (-0.08, 1.38), (-0.08, 1.0)),
     ((-0.05, 1.0), (-0.05, 1.38), (0.06, 1.37), (0.2, 1.0))),
)
HATCHBACK = Body(
    4.0, 1.75,
    ((-0.5, 0.3), (-0.5, 0.95), (-0.42, 1.5), (0.08, 1.52), (0.27, 1.02), (0.47, 0.88), (0.5, 0.3)), 1, 3,
    (((-0.44, 1.0), (-0.38, 1.42), (-0.12, 1.43), (-0.12, 1.0)),
     ((-0.08, 1.0), (-0.08, 1.43), (0.06, 1.43), (0.22, 1.0))),
)
VAN = Body(
    5.2, 2.0, ((-0.5, 0.35), (-0.5, 2.15), (0.22, 2.2), (0.36, 1.3), (0.49, 1.05), (0.5, 0.35)), -1, 2,
    (((0.07, 1.3), (0.07, 1.95), (0.2, 1.95), (0.31, 1.3)),),
)
# fmt: on
BODIES = (SALOON, HATCHBACK, VAN)
AXLES = (-0.31, 0.31)
"""Shares of the length."""
_TURN = np.linspace(0, 2 * np.pi, 12, endpoint=False)
WHEELS = np.stack([(radius * np.cos(_TURN), 0.33 + radius * np.sin(_TURN)) for radius in (0.36, 0.2)]).swapaxes(1, 2)
"""Outlines of tyre and rim, (2, 12, 2), along the car and up in metres."""


class Car(NamedTuple):
    """A car at a place on the road."""

    x: float
    z: float
    heading: float
    """Radians from straight ahead, clockwise seen from above."""
    body: Body
    paint: Colour


def random_car(rng: Generator, x: float, z: float, heading: float) -> Car:
    """A car of any make and colour."""
    body = BODIES[rng.choice(3, p=(0.4, 0.42, 0.18))]
    return Car(x, z, heading + rng.normal(0, 0.04), body, any_colour(rng, 1.5))


def draw_car(canvas: Canvas, rng: Generator, car: Car) -> None:
    """The extruded profile face by face, hidden faces left out, then wheels on the side one sees."""
    body = car.body
    profile = np.array(body.profile) * (body.length, 1)
    left, right = (_on_side(canvas, car, profile, side) for side in (-1, 1))
    _draw_underside(canvas, car)
    faces = np.stack((left[:-1], right[:-1], right[1:], left[1:]), axis=1)
    along = profile[:-1, 0] + profile[1:, 0]
    # Far faces first: for a car that comes towards us its rear is the far end.
    for edge in np.argsort(along * -math.cos(car.heading)).tolist():
        if _area(faces[edge]) < 0:
            _draw_face(canvas, rng, car, edge, faces[edge])
    for side, outline in ((-1, left), (1, right)):
        if _area(outline) * side > 0:
            _draw_side(canvas, car, side, outline)


def _on_side(canvas: Canvas, car: Car, points: Floats, side: float) -> Floats:
    """Pixels of points (along, up) in metres on the car's left (-1) or right (1) side."""
    along, across = points[..., 0], side * car.body.width / 2
    sine, cosine = math.sin(car.heading), math.cos(car.heading)
    return canvas.camera.project(
        car.x + along * sine + across * cosine, points[..., 1], car.z + along * cosine - across * sine
    )


def _area(points: Floats) -> float:
    """Twice the signed area, positive if the corners run clockwise on the screen: tells which face one sees."""
    corners = points.tolist()
    following = corners[1:] + corners[:1]
    return float(sum(a[0] * b[1] - b[0] * a[1] for a, b in zip(corners, following, strict=True)))


def _draw_underside(canvas: Canvas, car: Car) -> None:
    """The dark gap between car and road."""
    band = np.array([(-0.46, 0.0), (0.46, 0.0), (0.48, 0.4), (-0.48, 0.4)]) * (car.body.length, 1)
    left, right = (_on_side(canvas, car, band, side) for side in (-0.9, 0.9))
    for shape in (np.concatenate((left[:2], right[1::-1])), left, right):
        canvas.polygon(shape, (23, 23, 25), Kind.CAR, car.z)


def _inset(face: Floats, across: Pair, up: Pair) -> Floats:
    """A rectangle within a face (lower left, lower right, upper right, upper left), as shares of its sides."""
    (left, right), (low, high) = across, up
    shares = np.array([(left, low), (right, low), (right, high), (left, high)])
    weights = np.stack((1 - shares[:, 0], shares[:, 0]), axis=1)
    lower, upper = weights @ face[:2], weights @ face[3:1:-1]
    return np.asarray(lower + (upper - lower) * shares[:, 1:])


def _draw_face(canvas: Canvas, rng: Generator, car: Car, edge: int, face: Floats) -> None:
    """One strip across the car: boot, roof, bonnet or a window, with lights at both ends of the car."""
    body = car.body
    (start, low), (end, high) = body.profile[edge], body.profile[edge + 1]
    slope = abs(end - start) * body.length / (abs(high - low) + 0.01)
    canvas.polygon(face, shade(car.paint, 0.82 + 0.3 * min(1.0, slope / 3)), Kind.CAR, car.z)
    if edge in (body.rear_glass, body.windscreen):
        glass = shade(canvas.light.sky_low, 0.35) if rng.random() < 0.5 else (42.0, 48.0, 54.0)
        canvas.polygon(_inset(face, (0.07, 0.93), (0.08, 0.9)), glass, Kind.CAR, car.z)
    elif edge == 0:
        _draw_lights(canvas, car, face, (196, 30, 32), (0.5, 0.75) if body is not VAN else (0.25, 0.45))
        if body is VAN:
            canvas.polygon(_inset(face, (0.1, 0.9), (0.55, 0.88)), (44, 48, 54), Kind.CAR, car.z)
    elif edge == len(body.profile) - 2:
        # The front runs downwards along the profile, so "up" is measured from the bonnet.
        _draw_lights(canvas, car, face, (250, 246, 220), (0.08, 0.35))
        canvas.polygon(_inset(face, (0.28, 0.72), (0.15, 0.4)), (30, 30, 32), Kind.CAR, car.z)


def _draw_lights(canvas: Canvas, car: Car, face: Floats, lamp: Colour, up: Pair) -> None:
    """A lamp on either side and a number plate."""
    for across in ((0.04, 0.22), (0.78, 0.96)):
        canvas.polygon(_inset(face, across, up), lamp, Kind.CAR, car.z)
    plate = (up[0] + 0.45, up[0] + 0.62) if lamp[2] > 100 else (up[0] - 0.25, up[0] - 0.08)
    canvas.polygon(_inset(face, (0.36, 0.64), plate), (224, 222, 206), Kind.CAR, car.z)


def _draw_side(canvas: Canvas, car: Car, side: int, outline: Floats) -> None:
    """Doors, side windows and wheels."""
    body = car.body
    faces_sun = canvas.light.sun * side * math.cos(car.heading)
    canvas.polygon(outline, shade(car.paint, 0.8 + 0.15 * faces_sun), Kind.CAR, car.z)
    glass = shade(canvas.light.sky_low, 0.3)
    for pane in _on_side(canvas, car, np.array(body.panes) * (body.length, 1), side):
        canvas.polygon(pane, glass, Kind.CAR, car.z)
    if canvas.camera.scale(car.z) < 4:
        return  # a wheel would be about two pixels wide
    sill = np.array([(-0.48, 0.62), (0.47, 0.62)]) * (body.length, 1)
    canvas.line(_on_side(canvas, car, sill, side), 1, shade(car.paint, 0.6), None, car.z)
    wheels = _on_side(canvas, car, WHEELS + np.array(AXLES)[:, None, None, None] * (body.length, 0), side)
    for tyre, rim in wheels:
        canvas.polygon(tyre, (26, 26, 28), Kind.CAR, car.z)
        canvas.polygon(rim, (150, 152, 154), Kind.CAR, car.z)
