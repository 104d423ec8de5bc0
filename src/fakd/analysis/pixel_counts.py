"""One pass of a trained network over labelled images: everything that needs its predictions, counted."""

from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import reduce

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from fakd.data import Sample
from fakd.data.spec import Source
from fakd.evaluation import ConfusionMatrix, Inference, predict_logits
from fakd.evaluation.inference import WHOLE
from fakd.types import IGNORE_INDEX


@dataclass(frozen=True)
class PixelCounts:
    """What was counted over a split; its size does not depend on the number of images."""

    boundary: Tensor
    """(C, C) int64 pixels [truth, prediction] in the band around the boundaries between classes."""
    interior: Tensor
    """(C, C) int64 pixels [truth, prediction] outside that band."""
    calibration: Tensor
    """(3, bins) float64 by confidence: pixels, pixels that are right, and the sum of their confidences."""

    @property
    def confusion(self) -> Tensor:
        """(C, C) int64 of all labelled pixels [truth, prediction]."""
        return self.boundary + self.interior

    def __add__(self, other: "PixelCounts") -> "PixelCounts":
        return PixelCounts(
            self.boundary + other.boundary, self.interior + other.interior, self.calibration + other.calibration
        )


def pooled(parts: Sequence[PixelCounts]) -> PixelCounts:
    """The counts of several passes together."""
    return reduce(PixelCounts.__add__, parts)


def boundary_band(labels: Tensor, width: int) -> Tensor:
    """Find the pixels that are close to a boundary between two classes.

    A labelled pixel is in the band if a pixel of another class is at most `width` rows and at most `width` columns away
    from it. Ignored pixels are of no class: they are never in the band, and next to them there is no boundary. Where a
    data set leaves a rim of ignored pixels between objects, as VOC does, the band must be wider than the rim.

    Args:
        labels: (B, H, W) integer classes, 255 = ignore.
        width: pixels, at least 1.

    Returns:
        (B, H, W) bool.
    """
    ignored = labels == IGNORE_INDEX
    classes = labels.float()
    highest = _highest_around(classes.masked_fill(ignored, -torch.inf), width)
    lowest = -_highest_around((-classes).masked_fill(ignored, -torch.inf), width)
    return ~ignored & (lowest < highest)


def calibration_counts(confidence: Tensor, right: Tensor, bins: int) -> Tensor:
    """Sort pixels into equal bins of confidence, the upper end of each included.

    Args:
        confidence: (N,) the greatest probability of each pixel, above 0.
        right: (N,) bool, whether the class of that probability is the true one.
        bins: number of bins from 0 to 1.

    Returns:
        (3, bins) float64: pixels, pixels that are right, and the sum of their confidences.
    """
    confidence = confidence.double().cpu()
    place = torch.bucketize(confidence, torch.linspace(0, 1, bins + 1, dtype=torch.float64)[1:-1])
    weights = (torch.ones_like(confidence), right.double().cpu(), confidence)
    return torch.stack([torch.bincount(place, weight, minlength=bins) for weight in weights])


def measure(
    model: nn.Module,
    batches: Iterable[Sample],
    num_classes: int,
    *,
    band: int,
    bins: int,
    device: torch.device | str = "cpu",
    inference: Inference = WHOLE,
    on_image: Callable[[int], None] | None = None,
) -> PixelCounts:
    """Count truth against prediction near and far from boundaries, and how sure the network was.

    Args:
        model: gives a `SegmentationOutput`; it is left in eval mode on `device`.
        batches: of uint8 images and labels, as `SegmentationData.val_dataloader` gives them.
        num_classes: C.
        band: width of the band around boundaries in pixels, see `boundary_band`.
        bins: number of bins of confidence.
        device: where to compute.
        inference: whole image or windows, flip and scales.
        on_image: called after each batch with the number of its images, to show progress.
    """
    model.eval().to(device)
    near, far = ConfusionMatrix(num_classes, device), ConfusionMatrix(num_classes, device)
    calibration = torch.zeros(3, bins, dtype=torch.float64)
    for batch in batches:
        images, labels = batch.image.to(device), batch.label.to(device).long()
        logits = predict_logits(model, images, labels.shape[-2:], inference)  # any tap
        predicted, confidence = logits.argmax(1), logits.softmax(1).amax(1)
        in_band = boundary_band(labels, band)
        near.update(predicted, labels.masked_fill(~in_band, IGNORE_INDEX))
        far.update(predicted, labels.masked_fill(in_band, IGNORE_INDEX))
        labelled = labels != IGNORE_INDEX
        calibration += calibration_counts(confidence[labelled], (predicted == labels)[labelled], bins)
        if on_image is not None:
            on_image(len(images))
    return PixelCounts(near.compute().cpu(), far.compute().cpu(), calibration)


def class_pixels(source: Source, num_classes: int, on_image: Callable[[int], None] | None = None) -> Tensor:
    """Count the labelled pixels of every class of a split.

    Returns:
        (C,) int64.
    """

    def count(index: int) -> Tensor:
        return torch.bincount(source[index].label.flatten(), minlength=IGNORE_INDEX + 1)[:num_classes]

    pixels = torch.zeros(num_classes, dtype=torch.int64)
    with ThreadPoolExecutor() as pool:  # decoding releases the interpreter lock
        for found in pool.map(count, range(len(source))):
            pixels += found
            if on_image is not None:
                on_image(1)
    return pixels


def _highest_around(values: Tensor, width: int) -> Tensor:
    """Maximum over the square of (2 width + 1)^2 pixels around each pixel, one side after the other."""
    side = 2 * width + 1
    rows = F.max_pool2d(values, (side, 1), stride=1, padding=(width, 0))
    return F.max_pool2d(rows, (1, side), stride=1, padding=(0, width))
