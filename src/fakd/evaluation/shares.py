"""How much of an image each class takes."""

import torch
from torch import Tensor


def class_shares(labels: Tensor, num_classes: int) -> Tensor:
    """Count the pixels of every class.

    Args:
        labels: (H, W) class indices of any integer type.
        num_classes: C; pixels of other values, as 255 for ignored ones, count for no class.

    Returns:
        (C,) float64 shares of all pixels, 0 to 1.

    Example:
        >>> class_shares(torch.tensor([[0, 2, 2, 2]]), 4).tolist()
        [0.25, 0.0, 0.75, 0.0]
    """
    counts = torch.bincount(labels.flatten().long(), minlength=num_classes)
    return counts[:num_classes].double() / labels.numel()
