"""Small folders of a user's own images and masks for tests."""

from pathlib import Path

import numpy as np
from PIL import Image

SIZE = (12, 8)  # width x height


def write_image(path: Path, size: tuple[int, int] = SIZE, mode: str = "RGB", orientation: int | None = None) -> Path:
    """Write noise; the file type follows the suffix, in any case."""
    path.parent.mkdir(parents=True, exist_ok=True)
    noise = np.random.default_rng(len(path.name)).integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)
    exif = Image.Exif()
    if orientation is not None:
        exif[0x0112] = orientation
    kind = "JPEG" if path.suffix.lower() in (".jpg", ".jpeg") else "PNG"
    Image.fromarray(noise).convert(mode).save(path, format=kind, exif=exif)
    return path


def write_mask(path: Path, values: np.ndarray | int = 0, size: tuple[int, int] = SIZE) -> Path:
    """Write class values, or colours if `values` is (H, W, 3)."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if isinstance(values, int):
        values = np.full((size[1], size[0]), values, dtype=np.uint8)
    Image.fromarray(values).save(path, format="PNG")
    return path


def write_folder(root: Path, names: list[str], classes: str = "road\ncar\nsky\n", masks: str = "masks") -> Path:
    """Write images/NAME.jpg and masks/NAME.png for every name, of class 0, 1, 2, 0, ...; and classes.txt."""
    root.mkdir(parents=True, exist_ok=True)
    (root / "classes.txt").write_text(classes, encoding="utf-8")
    for place, name in enumerate(names):
        write_image(root / "images" / f"{name}.jpg")
        write_mask(root / masks / f"{name}.png", place % 3)
    return root
