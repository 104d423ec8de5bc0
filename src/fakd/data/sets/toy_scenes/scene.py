"""One scene, from a random generator to an image and its labels."""

import numpy as np
from numpy.random import Generator
from PIL import Image, ImageFilter

from fakd.data.sets.toy_scenes.backdrop import Street, paint_ground, paint_sky
from fakd.data.sets.toy_scenes.buildings import draw_skyline
from fakd.data.sets.toy_scenes.canvas import Bytes, Camera, Canvas, Colour, Kind, Light, jitter, shade, smooth_noise
from fakd.data.sets.toy_scenes.layout import lay_out, random_street

OVERSAMPLING = 2
"""Canvas pixels per image pixel: the average over them smooths edges."""


def draw_scene(rng: Generator, size: tuple[int, int]) -> tuple[Bytes, Bytes]:
    """(H, W, 3) image and (H, W) labels of one random street."""
    big = (OVERSAMPLING * size[0], OVERSAMPLING * size[1])
    camera, light = random_camera(rng, big), random_light(rng)
    street = random_street(rng)
    things = lay_out(rng, street, light)
    canvas = _backdrop(rng, big, camera, light, street)
    draw_skyline(canvas, rng, rng.uniform(95, 160))
    # Painter's algorithm: what is nearer is painted later and covers what is behind it.
    for thing in sorted(things, key=lambda thing: -thing.z):
        thing.draw(canvas)
    if rng.random() < 0.3:
        _draw_bonnet(canvas, rng)
    return _expose(canvas, rng)


def random_camera(rng: Generator, size: tuple[int, int]) -> Camera:
    """A camera on the roof of a car or a van, looking roughly along the street."""
    height, width = size
    return Camera(
        focal=width * rng.uniform(0.8, 1.15),
        centre=width * rng.uniform(0.33, 0.67),
        horizon=height * rng.uniform(0.34, 0.52),
        height=rng.uniform(1.8, 2.8),
        bend=rng.normal(0, 0.0025),
    )


def random_light(rng: Generator) -> Light:
    """Sunny, overcast, hazy or dusk."""
    hours: list[tuple[Colour, Colour]] = [
        ((92, 138, 208), (196, 212, 226)),
        ((168, 176, 186), (212, 214, 216)),
        ((150, 168, 190), (226, 220, 208)),
        ((62, 70, 112), (232, 158, 112)),
    ]
    hour = rng.choice(4, p=(0.4, 0.3, 0.12, 0.18))
    dusk = hour == 3
    top, low = hours[hour]
    bright = rng.uniform(0.5, 0.75) if dusk else rng.uniform(0.75, 1.15)
    red, green, blue = (bright * (1 + rng.normal(0, 0.045, 3))).tolist()
    return Light(
        sky_top=jitter(rng, top, 10),
        sky_low=jitter(rng, low, 8),
        sun=float(rng.choice((-1.0, 1.0))) if hour == 0 or rng.random() < 0.3 else 0.0,
        visibility=rng.uniform(55, 120) if hour == 2 else rng.uniform(120, 450),
        lit_windows=rng.uniform(0.3, 0.6) if dusk else rng.uniform(0, 0.12),
        cast=(red, green, blue),
        cloud=rng.uniform(0.6, 1) if hour == 1 else rng.uniform(0, 0.65),
    )


def _backdrop(rng: Generator, size: tuple[int, int], camera: Camera, light: Light, street: Street) -> Canvas:
    """Sky and ground."""
    picture = paint_sky(rng, size, camera, light)
    labels = np.full(size, Kind.SKY, np.uint8)
    top, picture[top:], labels[top:] = paint_ground(rng, size, camera, light, street)
    return Canvas(picture.clip(0, 255).astype(np.uint8), labels, camera, light)


def _draw_bonnet(canvas: Canvas, rng: Generator) -> None:
    """The bonnet of the camera's own car at the lower edge, which is not scored."""
    width, height = canvas.labels.size
    rise = height * rng.uniform(0.03, 0.09)
    paint = jitter(rng, (60, 62, 70), 25)
    for share, gain in ((1.0, 0.8), (0.8, 1.0), (0.5, 1.25)):
        canvas.ellipse((width / 2, height), (width * 0.62, rise * share), shade(paint, gain), Kind.VOID, 1)


def _expose(canvas: Canvas, rng: Generator) -> tuple[Bytes, Bytes]:
    """What the camera makes of the scene: exposure, colour cast, blur and noise."""
    small = canvas.picture.reduce(OVERSAMPLING)
    labels = np.array(canvas.labels.resize(small.size, Image.Resampling.NEAREST))
    small = _roughen(small, labels, rng)
    blur = rng.uniform(0, 0.6)
    if blur > 0.2:
        small = small.filter(ImageFilter.GaussianBlur(blur))
    image = np.asarray(small, np.float32)
    patches = 1 + rng.uniform(0.02, 0.12) * smooth_noise(rng, (4, 5), image.shape[:2])
    image = image * np.array(canvas.light.cast, np.float32) * patches[..., None]
    contrast = rng.uniform(0.85, 1.15)
    image = (image - 110) * contrast + 110
    image += rng.standard_normal(image.shape, np.float32) * np.float32(rng.uniform(1, 6))
    return image.clip(0, 255).astype(np.uint8), labels


def _roughen(image: Image.Image, labels: Bytes, rng: Generator) -> Image.Image:
    """Texture too fine to be drawn: leaves, weathered walls."""
    strength = np.zeros(256, np.float32)
    strength[[Kind.TREE, Kind.BUILDING, Kind.GRASS]] = rng.uniform((0.06, 0.01, 0.03), (0.16, 0.045, 0.1))
    grain = rng.standard_normal(labels.shape, np.float32)
    smooth = np.asarray(image, np.float32)
    # Strongest in the mid-tones: white haze in front of far trees must not sparkle.
    contrast = 1.6 * smooth * (1 - smooth / 255)
    rough = smooth + contrast * (grain * strength[labels])[..., None]
    return Image.fromarray(rough.clip(0, 255).astype(np.uint8))
