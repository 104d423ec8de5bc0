from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from colour_source import ColourSource
from PIL import Image

from fakd.data.spec import DatasetSpec, Source

WritePair = Callable[..., tuple[Path, Path]]


def open_colours(root: Path | None, split: str) -> Source:
    return ColourSource(count=7 if split == "train" else 5)


@pytest.fixture
def colour_spec() -> DatasetSpec:
    classes = tuple("abcdef")
    palette = tuple((20 * index, 7, 7) for index in range(6))
    return DatasetSpec("colours", classes, palette, (48, 64), (32, 32), open_colours, needs_root=False)


@pytest.fixture
def write_pair(tmp_path: Path) -> WritePair:
    """Write an image below train/ and its mask below trainannot/, both 12x8 (width x height) unless told."""

    def write(
        image: str = "a.jpg",
        mask: str = "a.png",
        size: tuple[int, int] = (12, 8),
        values: np.ndarray | None = None,
    ) -> tuple[Path, Path]:
        image_path, mask_path = tmp_path / "train" / image, tmp_path / "trainannot" / mask
        image_path.parent.mkdir(exist_ok=True)
        mask_path.parent.mkdir(exist_ok=True)
        rng = np.random.default_rng(0)
        kind = "PNG" if image.lower().endswith("png") else "JPEG"
        pixels = rng.integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)
        Image.fromarray(pixels).save(image_path, format=kind)
        if values is None:
            values = rng.integers(0, 12, (8, 12), dtype=np.uint8)
        Image.fromarray(values).save(mask_path, format="PNG")
        return image_path, mask_path

    return write
