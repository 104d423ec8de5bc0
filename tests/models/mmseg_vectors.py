"""MMSegmentation's own entries and logits of the eight networks, computed once with the real thing."""

import zlib

import numpy as np
import pytest
import torch
from shared import SHARED

FOLDER = SHARED / "vectors" / "mmseg"
NAMES = (
    "pspnet-r101",
    "pspnet-r18",
    "hrnet-w48",
    "hrnet-w18s",
    "deeplabv3plus-r101",
    "deeplabv3plus-mv2",
    "isanet-r101",
    "isanet-r18",
)


def load_vectors(name: str) -> dict[str, np.ndarray]:
    path = FOLDER / f"{name}.npz"
    if not path.is_file():
        pytest.skip(f"needs the reference values {path}, which are not part of the project")
    with np.load(path) as file:
        return dict(file)


def filled(key: str, shape: tuple[int, ...], seed: int) -> torch.Tensor:
    """The rule by which the reference networks were filled; every entry depends on its name alone."""
    if key.endswith("num_batches_tracked"):
        return torch.zeros((), dtype=torch.int64)
    r = np.random.default_rng(zlib.crc32(f"{seed}:{key}".encode()))
    if key.endswith("running_mean"):
        values = 0.1 * r.standard_normal(shape)
    elif key.endswith("running_var"):
        values = r.uniform(0.8, 1.25, shape)
    elif len(shape) == 1:
        values = r.uniform(0.3, 0.7, shape) if key.endswith(".weight") else 0.2 * r.standard_normal(shape)
    else:
        values = np.sqrt(2 / np.prod(shape[1:])) * r.standard_normal(shape)
    return torch.from_numpy(values.astype(np.float32))


def reference_state(vectors: dict[str, np.ndarray]) -> dict[str, torch.Tensor]:
    shapes = [tuple(int(side) for side in shape.split(",") if side) for shape in vectors["shapes"]]
    return {
        str(key): filled(str(key), shape, int(vectors["seed"]))
        for key, shape in zip(vectors["keys"], shapes, strict=True)
    }


def reference_image(vectors: dict[str, np.ndarray]) -> torch.Tensor:
    seed, (height, width) = int(vectors["seed"]), vectors["size"]
    r = np.random.default_rng(zlib.crc32(f"{seed}:input".encode()))
    return torch.from_numpy(r.standard_normal((2, 3, height, width)).astype(np.float32))
