"""The supervised loss of segmentation."""

from typing import Literal

import torch.nn.functional as F
from torch import Tensor

from fakd.functional.inputs import full_precision
from fakd.functional.maps import resize_logits
from fakd.types import IGNORE_INDEX

Average = Literal["valid", "all"]


def cross_entropy(logits: Tensor, labels: Tensor, *, average: Average = "valid") -> Tensor:
    """Pull the upsampled scores toward the labels.

        - sum_i log softmax_c(upsample(z))_{i, y_i} / N

    Args:
        logits: (B, C, h, w) raw scores, upsampled bilinearly to the labels' size.
        labels: (B, H, W) int64 class indices, 255 = ignore.
        average: N is the number of labelled pixels ("valid"), or of all pixels, ignored ones included ("all",
            as MMSegmentation's cross-entropy divides).

    Returns:
        A scalar >= 0 in nats; 0, not NaN, where every pixel is ignored, or there is no image.

    Example:
        >>> import torch
        >>> cross_entropy(torch.zeros(1, 4, 2, 2), torch.full((1, 8, 8), 255)).item()
        0.0
    """
    scores = resize_logits(full_precision(logits), labels.shape[-2:])
    total = F.cross_entropy(scores, labels, ignore_index=IGNORE_INDEX, reduction="sum")
    count = (labels != IGNORE_INDEX).sum().clamp_min(1) if average == "valid" else max(1, labels.numel())
    return total / count
