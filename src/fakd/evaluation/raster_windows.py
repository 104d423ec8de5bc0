"""The mask of a raster that no memory holds: overlapping windows, blended, from its top to its bottom."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import torch
from torch import Tensor

from fakd.data.cropping import Window
from fakd.data.raster import BLOCK, Raster, mask_raster, open_raster
from fakd.data.spec import SlidingWindow
from fakd.evaluation.inference import predict_logits, two_thirds, window_starts
from fakd.evaluation.predictor import Predictor
from fakd.functional import teacher_classes
from fakd.types import IGNORE_INDEX

_MOST_SCORES = 64 << 20
"""Bytes of scores that wait for the windows below; a strip of one window may need more."""
_DEFAULT_WINDOW = (512, 512)
"""For networks that do not say what size of images they were trained on."""


def predict_raster(
    network: Predictor,
    path: Path,
    mask: Path,
    *,
    confidence: float = 0.0,
    batch_size: int = 1,
    on_pixels: Callable[[int, int], None] = lambda done, total: None,
) -> list[float]:
    """Write the mask of a raster, as a GeoTIFF with its georeference.

    The network sees windows at the raster's own resolution: those that are asked for, or of the size of images that it
    was trained on. Their scores are averaged where they overlap, as those of `predict_logits` are. Windows without any
    data are passed over.

    Args:
        network: that is asked; its `bands` are read.
        path: of the raster.
        mask: the file to write.
        confidence: the least probability that counts, see `Predictor.labels`.
        batch_size: windows that run together.
        on_pixels: called with how many pixels are done, and how many there are.

    Returns:
        Each class's share of all pixels.

    Raises:
        DataError: the raster is damaged, or has other bands than the network needs.
        ValueError: the network gives labels, which cannot be blended.
    """
    counts = torch.zeros(256, dtype=torch.int64)
    with open_raster(path, network.bands) as raster, mask_raster(mask, raster, network.palette) as write:
        total = raster.size[0] * raster.size[1]
        for window, labels in raster_labels(network, raster, confidence, batch_size):
            write(window, labels)
            counts += torch.bincount(labels.flatten(), minlength=256)
            on_pixels(int(counts.sum()), total)
    return (counts[: network.num_classes].double() / total).tolist()


def raster_window(network: Predictor) -> SlidingWindow:
    """The windows in which a network is shown a raster."""
    size = network.base_size or _DEFAULT_WINDOW
    return network.inference.window or SlidingWindow(size, two_thirds(size))


def raster_labels(
    network: Predictor, raster: Raster, confidence: float = 0.0, batch_size: int = 1
) -> Iterator[tuple[Window, Tensor]]:
    """Decide the class of every pixel, strip by strip of columns, each from its top to its bottom.

    Yields:
        Parts of the raster, each once: their place, whose corners are multiples of `BLOCK`, and (h, w) uint8 labels,
        255 where there are no data.
    """
    if network.model.gives_labels:
        raise ValueError(
            f"{network.name} gives labels and no scores, which overlapping windows of a raster average: export it "
            "again with scores."
        )
    (height, width), window = raster.size, raster_window(network)
    tall, wide = min(window.size[0], height), min(window.size[1], width)
    tops, lefts = window_starts(height, tall, window.stride[0]), window_starts(width, wide, window.stride[1])
    most = max(wide, _MOST_SCORES // (4 * network.num_classes * tall))
    for start in range(0, width, across := -(-most // BLOCK) * BLOCK):
        strip = _Strip(network, raster, (tall, wide), start, min(across, width - start))
        seen = [left for left in lefts if start - wide < left < start + strip.width]
        labels, done = torch.empty(0, strip.width, dtype=torch.uint8), 0
        for top, below in pairwise([*tops, height]):
            for first in range(0, len(seen), batch_size):
                strip.ask(top, seen[first : first + batch_size])
            labels = torch.cat([labels, strip.decide(below - top, confidence)])
            whole = len(labels) if below == height else len(labels) // BLOCK * BLOCK
            if whole:
                yield Window(done, start, whole, strip.width), labels[:whole]
            labels, done = labels[whole:], done + whole


class _Strip:
    """Columns of a raster, and the scores of as many rows of them as a window is tall.

    Args:
        network: that is asked.
        raster: what it is asked about.
        size: (height, width) of a window.
        start: the first column.
        width: how many there are.
    """

    def __init__(self, network: Predictor, raster: Raster, size: tuple[int, int], start: int, width: int) -> None:
        self.network, self.raster, self.size, self.start, self.width = network, raster, size, start, width
        # A raster that is smaller than a window is filled up to it.
        self.inference = replace(network.inference, window=raster_window(network))
        self.sums = torch.zeros(network.num_classes, size[0], width, device=network.device)
        self.counts = torch.zeros(size[0], width, device=network.device)
        self.seen = torch.zeros(size[0], width, dtype=torch.bool)

    def ask(self, top: int, lefts: Sequence[int]) -> None:
        """Add the scores of windows side by side."""
        parts = [self.raster.read(Window(top, left, *self.size)) for left in lefts]
        for left, (_, seen) in zip(lefts, parts, strict=True):
            here, there = self._columns(left)
            self.seen[:, here] = torch.from_numpy(seen)[:, there]
        full = [(left, image) for left, (image, seen) in zip(lefts, parts, strict=True) if seen.any()]
        if not full:
            return
        images = torch.stack([image for _, image in full]).to(self.network.device)
        scores = predict_logits(self.network.model, images, self.size, self.inference)
        for (left, _), score in zip(full, scores, strict=True):
            here, there = self._columns(left)
            self.sums[..., here] += score[..., there]
            self.counts[:, here] += 1

    def decide(self, rows: int, confidence: float) -> Tensor:
        """Return the labels (rows, width) of the first rows, which no window below sees, and go on to the next."""
        decided = torch.full((rows, self.width), IGNORE_INDEX, dtype=torch.uint8)
        if (seen := self.seen[:rows]).any():
            scores = self.sums[None, :, :rows].div_(self.counts[:rows].clamp_min(1))
            labels = teacher_classes(scores, confidence) if confidence else scores.max(1).indices  # argmax takes longer
            decided = torch.where(seen, labels[0].to("cpu", torch.uint8), decided)
        for state in (self.sums, self.counts, self.seen):
            kept = state.shape[-2] - rows
            state[..., :kept, :] = state[..., rows:, :].clone()
            state[..., kept:, :] = 0
        return decided

    def _columns(self, left: int) -> tuple[slice, slice]:
        """Which columns of the strip a window sees, and which of the window those are."""
        first, last = max(left, self.start), min(left + self.size[1], self.start + self.width)
        return slice(first - self.start, last - self.start), slice(first - left, last - left)
