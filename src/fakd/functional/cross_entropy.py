"""The supervised loss of segmentation."""

import math
from typing import Literal

import torch.nn.functional as F
from torch import Tensor

from fakd.functional.inputs import full_precision
from fakd.functional.maps import resize_logits
from fakd.types import IGNORE_INDEX

Average = Literal["valid", "all"]


def cross_entropy(
    logits: Tensor,
    labels: Tensor,
    *,
    average: Average = "valid",
    weight: Tensor | None = None,
    label_smoothing: float = 0.0,
) -> Tensor:
    """Pull the upsampled scores toward the labels.

        - sum_i w_{y_i} log softmax_c(upsample(z))_{i, y_i} / N

    N does not depend on the weights, as in MMSegmentation; PyTorch's mean divides by their sum.

    Args:
        logits: (B, C, h, w) raw scores, upsampled bilinearly to the labels' size.
        labels: (B, H, W) int64 class indices, 255 = ignore.
        average: N is the number of labelled pixels ("valid"), or of all pixels, ignored ones included ("all",
            as MMSegmentation's cross-entropy divides).
        weight: (C,) w, how much each class counts; None is 1.
        label_smoothing: share of each label that is spread over all classes, each as w counts it.

    Returns:
        A scalar >= 0 in nats; 0, not NaN, where every pixel is ignored, or there is no image.

    Example:
        >>> import torch
        >>> cross_entropy(torch.zeros(1, 4, 2, 2), torch.full((1, 8, 8), 255)).item()
        0.0
    """
    scores = resize_logits(full_precision(logits), labels.shape[-2:])
    total = F.cross_entropy(
        scores, labels, weight=weight, ignore_index=IGNORE_INDEX, reduction="sum", label_smoothing=label_smoothing
    )
    count = (labels != IGNORE_INDEX).sum().clamp_min(1) if average == "valid" else max(1, labels.numel())
    return total / count


def hard_cross_entropy(
    logits: Tensor,
    labels: Tensor,
    *,
    weight: Tensor | None = None,
    label_smoothing: float = 0.0,
    probability: float = 0.7,
    least: float = 1 / 16,
) -> Tensor:
    """Pull the upsampled scores toward the labels where they are furthest from them (online hard example mining).

        mean of l_i over the labelled pixels with l_i >= min(-log p, the K-th largest l)

    Args:
        logits: (B, C, h, w) raw scores, upsampled bilinearly to the labels' size.
        labels: (B, H, W) int64 class indices, 255 = ignore.
        weight: (C,) how much each class counts; None is 1.
        label_smoothing: share of each label that is spread over all classes.
        probability: p, that of the label from which on a pixel is easy.
        least: K as a share of all pixels: so many are taken even if all are easy.

    Returns:
        A scalar >= 0 in nats; 0 where every pixel is ignored.

    Source:
        Shrivastava et al., Training Region-based Object Detectors with Online Hard Example Mining, CVPR 2016; the
        rule for pixels is that of MMSegmentation's OHEMPixelSampler, per batch and with K as a share.
    """
    scores = resize_logits(full_precision(logits), labels.shape[-2:])
    losses = F.cross_entropy(
        scores, labels, weight=weight, ignore_index=IGNORE_INDEX, reduction="none", label_smoothing=label_smoothing
    ).flatten()  # 0 where ignored
    kth = losses.detach().topk(max(1, int(least * losses.numel()))).values[-1]
    hard = (losses >= kth.clamp_max(-math.log(probability))) & (labels.flatten() != IGNORE_INDEX)
    return (losses * hard).sum() / hard.sum().clamp_min(1)
