"""What a confusion matrix says: mIoU, mAcc, aAcc, and each class's share of the pixels."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor

from fakd.machine import processes
from fakd.types import IGNORE_INDEX


@dataclass(frozen=True)
class Scores:
    """The scores of a data set, in percent. None where a class cannot be scored."""

    mIoU: float
    """Mean of the classes' IoU, over the classes that occur in the truth or in the prediction."""
    mAcc: float
    """Mean of the classes' accuracy, over the classes that occur in the truth."""
    aAcc: float
    """Share of all pixels that are right."""
    IoU: dict[str, float | None]
    """Intersection over union by class; None where neither truth nor prediction has a pixel of it."""
    acc: dict[str, float | None]
    """Share of the class's pixels that are right; None where the truth has none."""

    def to_dict(self) -> dict[str, Any]:
        """As plain dicts and floats, ready for JSON."""
        return asdict(self)


class ConfusionMatrix:
    """An accumulating (C, C) count of pixels, [truth, prediction]; pixels labelled 255 are left out.

    Summed over all images and processes before anything is divided: a mean of per-image scores, as
    torchmetrics' MeanIoU gives, is another number than the benchmarks print.

    Example:
        >>> matrix = ConfusionMatrix(2)
        >>> matrix.update(torch.tensor([0, 1, 1, 1]), torch.tensor([0, 0, 1, 255]))
        >>> matrix.compute().tolist()
        [[1, 1], [0, 1]]
    """

    def __init__(self, num_classes: int, device: torch.device | str = "cpu") -> None:
        self._counts = torch.zeros(num_classes, num_classes, dtype=torch.long, device=device)

    def update(self, predicted: Tensor, labels: Tensor) -> None:
        """Count pixels of whatever shape, the same for both; they and the matrix are on one device."""
        seen = labels != IGNORE_INDEX
        pairs = labels[seen].long() * len(self._counts) + predicted[seen]
        self._counts += torch.bincount(pairs, minlength=self._counts.numel()).view_as(self._counts)

    def compute(self) -> Tensor:
        """(C, C) int64 of all processes together, each of which must ask."""
        counts = self._counts.clone()
        if processes() > 1:
            dist.all_reduce(counts)
        return counts


def scores_from_confusion(matrix: Tensor, classes: Sequence[str]) -> Scores:
    """The scores of a (C, C) count [truth, prediction].

    With n pixels of a class in the truth, p in the prediction and k in both, IoU = k / (n + p - k) and accuracy =
    k / n. Pixels labelled 255 are in none of the three, whatever was predicted there. Where classes are absent, this
    is MMSegmentation's convention:

    ================================  ==================  ========  ==============
    the class is absent from          IoU                 accuracy  counts in
    ================================  ==================  ========  ==============
    the prediction alone (n > p = 0)  0                   0         mIoU and mAcc
    the truth alone (p > n = 0)       0                   none      mIoU
    both                              none                none      neither
    ================================  ==================  ========  ==============

    Raises:
        ValueError: the matrix is not (C, C), or counts no pixel.

    Example:
        >>> import torch
        >>> scores = scores_from_confusion(torch.tensor([[3, 1], [0, 4]]), ["road", "car"])
        >>> scores.IoU, scores.mAcc, scores.aAcc
        ({'road': 75.0, 'car': 80.0}, 87.5, 87.5)
    """
    if matrix.shape != (len(classes), len(classes)):
        raise ValueError(f"the matrix is {tuple(matrix.shape)}, expected {(len(classes), len(classes))}.")
    counts = matrix.cpu().double()
    if counts.sum() == 0:
        raise ValueError("no labelled pixel was evaluated: the split is empty, or every label is 255.")
    right, truth, predicted = counts.diagonal(), counts.sum(1), counts.sum(0)
    iou = 100 * right / (truth + predicted - right)  # 0 / 0 is nan, and stays out of the means
    acc = 100 * right / truth
    return Scores(
        mIoU=iou.nanmean().item(),
        mAcc=acc.nanmean().item(),
        aAcc=100 * (right.sum() / counts.sum()).item(),
        IoU=_by_class(classes, iou),
        acc=_by_class(classes, acc),
    )


def chance_miou(matrix: Tensor) -> float:
    """The mIoU, in percent, of the better of two predictors that have learnt nothing.

    One draws classes uniformly, one names the most frequent class everywhere; the truth's frequencies are
    the row sums of the (C, C) count.

    Example:
        >>> import torch
        >>> chance_miou(torch.tensor([[90, 0], [10, 0]]))
        45.0
    """
    share = matrix.cpu().double().sum(1)
    share = share[share > 0] / share.sum()
    classes = matrix.shape[0]
    uniform = (share / classes) / (share + 1 / classes - share / classes)
    # Uniform draws name every class, also those that are not there: their IoU is 0, and counts.
    return 100 * max(uniform.sum().item() / classes, share.max().item() / len(share))


def _by_class(classes: Sequence[str], values: Tensor) -> dict[str, float | None]:
    return {name: None if value != value else value for name, value in zip(classes, values.tolist(), strict=True)}


def class_frequencies(labels: Tensor, num_classes: int) -> Tensor:
    """Count the pixels of every class.

    Args:
        labels: (H, W) class indices of any integer type.
        num_classes: C; pixels of other values, as 255 for ignored ones, count for no class.

    Returns:
        (C,) float64 shares of all pixels, 0 to 1.

    Example:
        >>> class_frequencies(torch.tensor([[0, 2, 2, 2]]), 4).tolist()
        [0.25, 0.0, 0.75, 0.0]
    """
    counts = torch.bincount(labels.flatten().long(), minlength=num_classes)
    return counts[:num_classes].double() / labels.numel()
