"""From an image to scores at the size that is asked for."""

from collections.abc import Sequence

import torch
from torch import Tensor
from torchvision.transforms.v2 import functional as F

from fakd.functional import resize_logits
from fakd.types import SegmentationModel


def to_float_images(images: Tensor) -> Tensor:
    """(..., 3, H, W) uint8 images as the float32 in [0, 1] that networks take."""
    floats: Tensor = F.to_dtype(images, torch.float32, scale=True)
    return floats


@torch.no_grad()
def predict_logits(model: SegmentationModel, images: Tensor, size: Sequence[int]) -> Tensor:
    """Scores of whole images, upsampled to `size` = (height, width) before anything is decided.

    Args:
        model: in eval mode.
        images: (B, 3, H, W) float in [0, 1], or uint8.
        size: of the labels that the scores are compared with.

    Returns:
        (B, C, height, width).
    """
    if images.dtype == torch.uint8:
        images = to_float_images(images)
    return resize_logits(model(images).logits, size)
