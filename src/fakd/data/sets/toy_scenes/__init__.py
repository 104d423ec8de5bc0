"""toy-scenes: street scenes drawn by the program itself, for a first run without any download."""

from functools import cache
from pathlib import Path

import numpy as np
import torch

from fakd.data.sets.toy_scenes.canvas import CLASSES, PALETTE
from fakd.data.sets.toy_scenes.scene import draw_scene
from fakd.data.spec import SPLITS, DatasetSpec, Sample

__all__ = ["TOY_SCENES", "ToyScenes"]

SIZE = (128, 192)
COUNTS = {"train": 256, "val": 64}


class ToyScenes:
    """Labelled street scenes, a `Source`; scene i depends on the seed, the split, i and the size only.

    A scene is drawn when it is first asked for, in 20 to 40 milliseconds, and kept.

    Args:
        split: "train" or "val"; the two never share a scene.
        count: How many scenes; None gives 256 of "train", 64 of "val".
        size: (height, width) of an image in pixels.
        seed: Another seed gives another data set.

    Example:
        >>> scenes = ToyScenes("val", count=2)
        >>> scenes[0].image.shape, scenes[0].label.shape, scenes[0].name
        (torch.Size([3, 128, 192]), torch.Size([128, 192]), 'val/0000')
    """

    def __init__(self, split: str, count: int | None = None, size: tuple[int, int] = SIZE, seed: int = 0) -> None:
        if split not in COUNTS:
            raise ValueError(f"toy-scenes has the splits {tuple(COUNTS)}, got {split!r}")
        self.split = split
        count = COUNTS[split] if count is None else count
        if count < 1 or min(size) < 32:
            raise ValueError(f"toy-scenes needs count >= 1 and sides >= 32, got count {count}, size {size}")
        self.seed = seed
        # In shared memory: whichever process is the first to ask for a scene draws it for all of them, so
        # that DataLoader workers neither repeat each other's work nor start again every epoch.
        self._images = _shared((count, 3, *size), torch.uint8)
        self._labels = _shared((count, *size), torch.uint8)
        self._drawn = _shared((count,), torch.bool)

    def __len__(self) -> int:
        return len(self._images)

    def __getitem__(self, index: int) -> Sample:
        index = range(len(self))[index]
        if not self._drawn[index]:
            self._draw(index)
        # A copy: a transform that works in place must not spoil the stored scene.
        return Sample(self._images[index].clone(), self._labels[index].clone(), f"{self.split}/{index:04d}")

    def _draw(self, index: int) -> None:
        """Draw a scene into the store; two processes that do so at once write the same bytes."""
        # A spawn key of its own for every scene: streams stay disjoint, and a scene is the same however
        # many others are drawn, and in whatever order.
        stream = np.random.SeedSequence(self.seed, spawn_key=(SPLITS.index(self.split), index))
        height, width = self._labels.shape[1:]
        image, label = draw_scene(np.random.default_rng(stream), (height, width))
        self._images[index] = torch.from_numpy(image).permute(2, 0, 1)
        self._labels[index] = torch.from_numpy(label)
        self._drawn[index] = True

    def check(self) -> None:
        """Nothing to do: there are no files that could be missing or damaged."""


def _shared(shape: tuple[int, ...], dtype: torch.dtype) -> torch.Tensor:
    """Zeros that processes started later see and change together."""
    zeros = torch.zeros(shape, dtype=dtype)
    zeros.share_memory_()  # type: ignore[no-untyped-call]
    return zeros


@cache  # the runs of one process share the scenes that are drawn
def _open(root: Path | None, split: str) -> ToyScenes:
    """Make a split; the root is not looked at, since nothing is read."""
    return ToyScenes(split)


TOY_SCENES = DatasetSpec(
    name="toy-scenes",
    classes=CLASSES,
    palette=PALETTE,
    base_size=SIZE,
    crop_size=(96, 96),
    open=_open,
    needs_root=False,
)
