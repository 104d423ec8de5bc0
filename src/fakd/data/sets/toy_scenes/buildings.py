"""Houses, and the fences of gardens: everything made of upright walls."""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.random import Generator

from fakd.data.sets.toy_scenes.canvas import Canvas, Colour, Floats, Kind, Pair, any_colour, jitter, shade, shades

STONES: tuple[Colour, ...] = ((150, 84, 66), (188, 170, 140), (160, 158, 152), (206, 200, 186), (112, 92, 80))
STOREY = 3.0


@dataclass(frozen=True)
class Wall:
    """An upright wall between two points of the ground, each (x, z) in metres."""

    start: Pair
    end: Pair
    height: float

    @property
    def length(self) -> float:
        """Along the ground."""
        return float(np.hypot(self.end[0] - self.start[0], self.end[1] - self.start[1]))

    def project(self, canvas: Canvas, along: Floats, up: Floats) -> Floats:
        """Pixels of points of the wall: `along` as a share of its length, `up` in metres."""
        x = self.start[0] + (self.end[0] - self.start[0]) * along
        z = self.start[1] + (self.end[1] - self.start[1]) * along
        return canvas.camera.project(x, up, z)

    def panel(self, canvas: Canvas, along: Pair, up: Pair) -> Floats:
        """Pixels of an upright rectangle of the wall, (4, 2)."""
        (left, right), (low, high) = along, up
        return self.project(canvas, np.array([left, right, right, left]), np.array([low, low, high, high]))


class Front(NamedTuple):
    """How a house looks, shared by its walls."""

    stone: Colour
    frame: Colour
    bay: float
    """Metres from window to window."""
    pane: Pair
    """Width and height of a window as shares of bay and storey."""
    shop: Colour | None
    """Colour of the ground floor's awning, None for a house without a shop."""
    bricks: bool


def random_front(rng: Generator) -> Front:
    """Any house style."""
    stone = STONES[rng.integers(len(STONES))] if rng.random() < 0.65 else any_colour(rng, 0.7)
    return Front(
        stone=jitter(rng, stone, 12),
        frame=jitter(rng, (215, 212, 205), 12) if rng.random() < 0.6 else any_colour(rng, 0.4),
        bay=rng.uniform(2.2, 4.2),
        pane=(rng.uniform(0.3, 0.75), rng.uniform(0.4, 0.7)),
        shop=any_colour(rng, 1.6) if rng.random() < 0.4 else None,
        bricks=rng.random() < 0.6,
    )


def draw_house(canvas: Canvas, rng: Generator, x: float, z: Pair, height: float) -> None:
    """A house whose front stands at x, from the near to the far end of z, with its near gable wall."""
    near, far = z
    outward = 1.0 if x > 0 else -1.0
    front = random_front(rng)
    gable = Wall((x, near), (x + outward * 12, near), height)
    facade = Wall((x, near), (x, far), height)
    if rng.random() < 0.5:
        _draw_roof(canvas, rng, x, outward, z, height)
    sunny = canvas.light.sun * outward
    _draw_wall(canvas, rng, gable, front._replace(bay=8.0), near, 0.88)
    _draw_wall(canvas, rng, facade, front, near + 0.3 * (far - near), 1 - 0.22 * sunny)
    if front.shop is not None:
        _draw_shop(canvas, rng, facade, front.shop, near)


def draw_skyline(canvas: Canvas, rng: Generator, z: float) -> None:
    """Far houses and tree tops across the end of the street."""
    camera, columns = canvas.camera, canvas.labels.width
    # What the picture spans at this depth, from left to right.
    x, last = (z * ((column - camera.centre) / camera.focal - camera.bend * z) for column in (-9, columns + 9))
    while x < last:
        width = rng.uniform(0.08, 0.22) * z
        height = rng.uniform(0.03, 0.16) * z
        if rng.random() < 0.6:
            front = random_front(rng)
            wall = Wall((x, z), (x + width, z), height)
            _draw_wall(canvas, rng, wall, front._replace(bay=z / 20), z, 0.9)
        else:
            colour = jitter(rng, (70, 98, 58), 12)
            radii = camera.scale(z) * height * rng.uniform(0.3, 0.5, 6)
            tops = camera.project(x + rng.uniform(0, width, 6), height * 0.3, z)
            reach = radii[:, None] * (1.4, 1.0)
            boxes = np.concatenate((tops - reach, tops + reach), axis=1)
            canvas.ellipses(boxes, shades(colour, rng.uniform(0.8, 1.2, 6)), Kind.TREE, z)
        x += width * rng.uniform(0.7, 1.1)


def draw_fence(canvas: Canvas, rng: Generator, start: Pair, end: Pair, style: int, colour: Colour) -> None:
    """One panel of a fence: boards, railings one sees through, or a frame with wire, for style 0, 1, 2."""
    height = (1.5, 1.2, 1.7)[style]
    wall = Wall(start, end, height)
    z = (start[1] + end[1]) / 2
    outline = wall.panel(canvas, (0, 1), (0, height))
    # What shows between the bars counts as fence, as in the large street data sets.
    canvas.polygon(outline, jitter(rng, colour, 6) if style == 0 else None, Kind.FENCE, z)
    bars = max(2, round(wall.length / (0.45, 0.3, 0.6)[style]))
    thick = canvas.camera.scale(z) * (0.04, 0.05, 0.03)[style]
    bar_colour = shade(colour, 0.7 if style == 0 else 1.0)
    shares = np.linspace(0, 1, bars + 1)[:-1, None] + np.zeros(2)
    posts = wall.project(canvas, shares, np.array([0, height]))
    canvas.lines(posts, thick, shades(bar_colour, [1.0] * bars), z)
    ups = np.array([0.25, height * 0.6, height - 0.05])[:, None]
    rails = wall.project(canvas, np.array([0.0, 1.0]), ups)
    canvas.lines(rails, thick * 1.5, shades(bar_colour, [1.0] * 3), z)


def _draw_wall(canvas: Canvas, rng: Generator, wall: Wall, front: Front, z: float, gain: float) -> None:
    """Masonry, courses of stone, and rows of windows."""
    ups = np.array([0, 0, wall.height, wall.height, wall.height - 0.5, wall.height - 0.5])
    corners = wall.project(canvas, np.array([0, 1, 1, 0, 0, 1]), ups)
    outline, cornice = corners[:4], corners[[3, 2, 5, 4]]
    columns = corners[:2, 0].tolist()
    seen_width = min(canvas.labels.width, max(columns)) - max(0, min(columns))
    if seen_width <= 0:
        return
    stone = shade(front.stone, gain)
    canvas.polygon(outline, stone, Kind.BUILDING, z)
    if front.bricks and z < 35 and seen_width > 5:
        ups = np.arange(0.4, wall.height, 0.5 if z < 15 else 1.0)[:, None]
        courses = wall.project(canvas, np.array([0.0, 1.0]), ups)
        canvas.lines(courses, 1, shades(stone, rng.uniform(0.82, 1.08, len(ups))), z)
    canvas.polygon(cornice, shade(stone, 0.75), None, z)
    if seen_width > 5:
        _draw_windows(canvas, rng, wall, front, z, gain)


def _draw_windows(canvas: Canvas, rng: Generator, wall: Wall, front: Front, z: float, gain: float) -> None:
    """A grid of windows: dark, lit, or mirroring the sky."""
    bays, storeys = max(1, int(wall.length / front.bay)), max(1, int((wall.height - 0.6) / STOREY))
    wide, high = front.pane[0] / bays / 2, front.pane[1] * STOREY
    along = (np.arange(bays) + 0.5)[None, :, None] / bays + np.array([-wide, wide, wide, -wide])
    sill = (np.arange(storeys) * wall.height / storeys + 0.9)[:, None, None]
    panes = wall.project(canvas, along, sill + np.array([0, 0, high, high])).reshape(-1, 4, 2)
    low, top = panes.min(1), panes.max(1)
    seen = (top > 0).all(1) & (low < canvas.labels.size).all(1) & ((top - low) > (0.8, 1.5)).all(1)
    if wall.start[1] < 4:  # a window cut off by the near plane would be smeared over the picture
        seen &= (top - low)[:, 0] < canvas.labels.width / 3
    if not seen.any():
        return
    if z < 30:
        frames = 1.25 * panes[seen] - 0.25 * panes[seen].mean(1, keepdims=True)
        canvas.polygons(frames, shades(front.frame, np.full(len(frames), gain)), z)
    moods = rng.random(int(seen.sum()))
    glass = shades(jitter(rng, (62, 70, 84), 12), 0.6 + moods)
    mirrors = moods > 1 - rng.uniform(0, 0.5)
    glass[mirrors] = shades(canvas.light.sky_low, 0.55 + 0.4 * gain * moods[mirrors])
    glass[moods < canvas.light.lit_windows] = (250, 214, 130)
    canvas.polygons(panes[seen], glass, z)


def _draw_roof(canvas: Canvas, rng: Generator, x: float, outward: float, z: Pair, height: float) -> None:
    """A tiled roof that slopes back from the front."""
    near, far = z
    rise, back = rng.uniform(1.5, 4.0), outward * 6
    tiles = jitter(rng, (122, 66, 54) if rng.random() < 0.5 else (84, 84, 92), 10)
    gable = canvas.camera.project([x, x + back, x + 2 * back], [height, height + rise, height], [near, near, near])
    slope = canvas.camera.project(
        [x, x, x + back, x + back], [height, height, height + rise, height + rise], [near, far, far, near]
    )
    canvas.polygon(slope, tiles, Kind.BUILDING, near)
    canvas.polygon(gable, shade(tiles, 0.8), Kind.BUILDING, near)


def _draw_shop(canvas: Canvas, rng: Generator, wall: Wall, colour: Colour, z: float) -> None:
    """A shop window, its awning and a board that looks like a traffic sign but belongs to the house."""
    z = max(z, 4.0)
    for share in np.arange(0, 1, min(1.0, 5.0 / wall.length)).tolist():
        end = min(1.0, share + 4.2 / wall.length)
        glass = wall.panel(canvas, (share + 0.02, end), (0.4, 2.4))
        canvas.polygon(glass, shade((70, 76, 84), rng.uniform(0.6, 1.5)), None, z)
        canvas.polygon(wall.panel(canvas, (share, end), (2.4, 3.1)), colour, None, z)
        board = wall.panel(canvas, (share + 0.1 * (end - share), share + 0.35 * (end - share)), (0.9, 1.9))
        canvas.polygon(board, any_colour(rng, 1.6), None, z)
