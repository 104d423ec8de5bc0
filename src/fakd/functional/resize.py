"""How maps of different strides are brought together, the same way everywhere."""

from collections.abc import Sequence

import torch.nn.functional as F
from torch import Tensor

from fakd.functional.inputs import full_precision


def resize_logits(logits: Tensor, size: Sequence[int]) -> Tensor:
    """Resize (B, C, h, w) to `size` = (height, width), bilinear with align_corners=False; unchanged if it fits."""
    height, width = size
    if tuple(logits.shape[-2:]) == (height, width):
        return logits
    return F.interpolate(full_precision(logits), size=(height, width), mode="bilinear", align_corners=False)


def resize_labels(labels: Tensor, size: Sequence[int]) -> Tensor:
    """Resize (B, H, W) integer labels to `size` = (height, width), taking the pixel nearest each new centre.

    "nearest-exact" agrees with where `resize_logits` places its samples; plain "nearest" would be off by
    half a stride.

    Example:
        >>> import torch
        >>> resize_labels(torch.arange(8).view(1, 1, 8), (1, 2))
        tensor([[[2, 6]]])
    """
    height, width = size
    if tuple(labels.shape[-2:]) == (height, width):
        return labels
    # float32 holds every label exactly, and every device can resize it
    return (
        F.interpolate(labels.unsqueeze(1).float(), size=(height, width), mode="nearest-exact")
        .squeeze(1)
        .to(labels.dtype)
    )
