"""Small files in the form in which data sets are published."""

from pathlib import Path

import numpy as np
from PIL import Image


def write_image(path: Path, size: tuple[int, int] = (12, 8)) -> Path:
    """Write random pixels of (width, height) as the suffix says."""
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(len(path.name)).integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)
    Image.fromarray(pixels).save(path, format="PNG" if path.suffix.lower() == ".png" else "JPEG")
    return path


def write_mask(path: Path, values: np.ndarray | int, palette: bool = False) -> Path:
    """Write (H, W) values, or one value on 12x8 pixels, as a grey or a palette PNG."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if isinstance(values, int):
        values = np.full((8, 12), values)
    picture = Image.fromarray(values.astype(np.uint8))
    if palette:
        # Colours that differ from the indices, so that reading colours would show.
        picture.putpalette([(index * 7 + shift) % 256 for index in range(256) for shift in (5, 90, 170)])
    picture.save(path, format="PNG")
    return path


def write_list(path: Path, names: list[str]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(f"{name}\n" for name in names))
    return path
