"""Where in its image a sample lies, so that what is computed once per image can be cut the same way."""

from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import affine_grid, grid_sample


class Geometry(NamedTuple):
    """The region that a sample shows; as fractions of the image, so it serves maps of any resolution.

    Pixel (i, j) of a sample of h x w pixels has its centre at `top + (i + 0.5) / h * height` down the image and
    `left + (j + 0.5) / w * width` across it, or `left + (w - j - 0.5) / w * width` when flipped. Of a batch, each
    field holds one number a sample: `Geometry(*batch.geometry.unbind(-1))`.
    """

    top: float | Tensor
    """Upper edge of the region over the image's height; negative where the sample is padded."""
    left: float | Tensor
    """Left edge over the image's width."""
    height: float | Tensor
    """Height of the region over that of the image. The scale is the sample's height over this times the image's."""
    width: float | Tensor
    """Width over that of the image."""
    flipped: float | Tensor
    """1 if the region was then flipped from left to right, else 0."""


WHOLE_IMAGE = torch.tensor(Geometry(0, 0, 1, 1, 0), dtype=torch.float32)
"""(5,) the geometry of a sample that shows its whole image."""


def crop_map(whole: Tensor, geometry: Tensor, size: tuple[int, int]) -> Tensor:
    """Cut from something computed on whole images, such as logits, what samples of these images show.

    Args:
        whole: (N, C, h, w) floats on the whole images, at any stride.
        geometry: (N, 5) `geometry` of the samples.
        size: (height, width) of the result.

    Returns:
        (N, C, *size), bilinear. Where a sample is padded, and its label thus 255, the image's edge goes on.

    Raises:
        ValueError: The shapes are not as above.
    """
    if whole.ndim != 4 or geometry.shape != (len(whole), len(Geometry._fields)):
        raise ValueError(
            f"whole is {tuple(whole.shape)} and geometry is {tuple(geometry.shape)}, "
            f"expected (N, C, h, w) and (N, {len(Geometry._fields)})"
        )
    top, left, height, width, flipped = geometry.to(whole).unbind(-1)
    # affine_grid measures from the image's centre in halves of its size.
    across, zero = width * (1 - 2 * flipped), torch.zeros_like(width)
    rows = [across, zero, 2 * left + width - 1, zero, height, 2 * top + height - 1]
    grid = affine_grid(torch.stack(rows, -1).view(-1, 2, 3), [*whole.shape[:2], *size], align_corners=False)
    return grid_sample(whole, grid, mode="bilinear", padding_mode="border", align_corners=False)
