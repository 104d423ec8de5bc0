"""On data as users have them, the recipe for them is the better one."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from fakd.training import TrainConfig, train

CLASSES = 12
_SHARES = 0.6 ** np.arange(CLASSES - 1)
"""How often each class but the background is drawn: a long tail."""


def draw(rng: np.random.Generator, size: int = 48) -> tuple[np.ndarray, np.ndarray]:
    """A photo of clothes, so to speak: grainy background on four fifths of it, and things of a few classes' colours."""
    mask = np.zeros((size, size), dtype=np.uint8)
    for label in 1 + rng.choice(CLASSES - 1, size=4, p=_SHARES / _SHARES.sum()):
        height, width = rng.integers(8, 16, 2)
        top, left = rng.integers(0, size - 16, 2)
        mask[top : top + height, left : left + width] = label
    hues = np.random.default_rng(0).integers(30, 226, (CLASSES, 3))
    image = hues[mask] + rng.normal(0, 20, (size, size, 3)) + rng.normal(0, 10, 3)
    return image.clip(0, 255).astype(np.uint8), mask


@pytest.fixture(scope="module")
def clothes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root, rng = tmp_path_factory.mktemp("clothes"), np.random.default_rng(2026)
    (root / "classes.txt").write_text("".join(f"class {index}\n" for index in range(CLASSES)))
    for split, count in (("train", 100), ("val", 50)):
        for number in range(count):
            image, mask = draw(rng)
            for kind, pixels in (("images", image), ("masks", mask)):
                path = root / kind / split / f"{number:03d}.png"
                path.parent.mkdir(parents=True, exist_ok=True)
                Image.fromarray(pixels).save(path)
    return root


def test_most_of_it_is_background(clothes) -> None:
    masks = [np.array(Image.open(path)) for path in (clothes / "masks/train").iterdir()]
    counts = np.bincount(np.concatenate([mask.flatten() for mask in masks]), minlength=CLASSES)
    assert counts[0] / counts.sum() == pytest.approx(0.8, abs=0.07)
    there = counts[1:][counts[1:] > 0]
    assert len(there) >= CLASSES - 2  # the rarest may have no training image at all
    assert there.min() < there.max() / 20


@pytest.mark.slow
def test_own_beats_paper_by_five_points(clothes, tmp_path) -> None:
    scores: dict[str, list[float]] = {"own": [], "paper": []}
    for recipe, found in scores.items():
        for seed in (11, 12):
            config = TrainConfig(
                network="pspnet/test_resnet.r160_in1k",
                dataset="folder",
                data_root=clothes,
                recipe=recipe,
                max_steps=100,
                batch_size=8,
                crop_size=(48, 48),
                head_channels=16,
                workers=0,
                accelerator="cpu",
                eval_every=100,
                seed=seed,
                output=tmp_path / f"{recipe}-{seed}",
            )
            results = train(config)
            assert results is not None
            found.append(results["mIoU"])
    assert np.mean(scores["own"]) - np.mean(scores["paper"]) > 5, scores
