"""TIFF files with a georeference, made on the spot."""

from pathlib import Path

import numpy as np
import pytest

rasterio = pytest.importorskip("rasterio")

# Digits that only float64 keeps, and an axis that is turned.
TRANSFORM = rasterio.Affine(0.1234567890123, 1e-5, 500000.123456789, 2e-5, -0.3, 4649776.987654321)


def write_raster(path: Path, values: np.ndarray, **options) -> Path:
    """Write (bands, H, W), in EPSG:32633 at `TRANSFORM` unless told otherwise."""
    path.parent.mkdir(parents=True, exist_ok=True)
    bands, height, width = values.shape
    form = {"driver": "GTiff", "height": height, "width": width, "count": bands, "dtype": values.dtype}
    with rasterio.open(path, "w", **{**form, "crs": "EPSG:32633", "transform": TRANSFORM, **options}) as file:
        file.write(values)
    return path


def noise(bands: int, height: int, width: int, seed: int = 0) -> np.ndarray:
    """Large patches of one colour each, so that a network sees more than noise."""
    rng = np.random.default_rng(seed)
    patches = rng.integers(1, 256, (bands, -(-height // 16), -(-width // 16)), dtype=np.uint8)
    return patches.repeat(16, 1).repeat(16, 2)[:, :height, :width]
