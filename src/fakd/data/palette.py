"""Label maps as pictures."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from fakd.types import IGNORE_INDEX

Palette = Sequence[tuple[int, int, int]]
"""One RGB colour (0-255) a class."""


def colorize(labels: Tensor, palette: Palette) -> Tensor:
    """Paint every pixel in the colour of its class; ignored pixels are black.

    Args:
        labels: (H, W) class indices of any integer type, 255 = ignore.
        palette: One colour a class.

    Returns:
        (H, W, 3) uint8 RGB.

    Raises:
        ValueError: `labels` is not (H, W), or holds an index without a colour.

    Example:
        >>> colorize(torch.tensor([[1, 255]]), [(9, 9, 9), (255, 0, 0)]).tolist()
        [[[255, 0, 0], [0, 0, 0]]]
    """
    _require_labels(labels, palette)
    return _table(palette)[labels.cpu().long()]


def as_picture(image: Tensor) -> Tensor:
    """Return what people see of an image (channels, H, W): (H, W, 3), the first three channels or the first thrice."""
    shown = image if len(image) >= 3 else image[:1].expand(3, -1, -1)
    return shown[:3].cpu().permute(1, 2, 0)


def overlay(image: Tensor, labels: Tensor, palette: Palette, opacity: float = 0.5, hide: Sequence[int] = ()) -> Tensor:
    """Lay the class colours over an image; ignored pixels show the image alone.

    Args:
        image: (3, H, W) uint8 RGB.
        labels: (H, W) class indices, 255 = ignore.
        palette: One colour a class.
        opacity: 0 shows only the image, 1 only the colours.
        hide: Classes whose pixels show the image alone too, as `fakd.data.class_names.hidden_classes` gives them.

    Returns:
        (H, W, 3) uint8 RGB.

    Raises:
        ValueError: The sizes differ, the opacity is not in [0, 1], or an index has no colour.
    """
    if image.shape[1:] != labels.shape:
        raise ValueError(
            f"image is {tuple(image.shape)} and labels are {tuple(labels.shape)}, expected (3, H, W) and (H, W)"
        )
    if not 0 <= opacity <= 1:
        raise ValueError(f"opacity is {opacity}, expected a number between 0 and 1")
    picture = as_picture(image)
    mixed = torch.lerp(picture.float(), colorize(labels, palette).float(), opacity).round().to(torch.uint8)
    alone = torch.isin(labels.cpu(), torch.tensor([*hide, IGNORE_INDEX], dtype=labels.dtype))
    return torch.where(alone[..., None], picture, mixed)


def write_label_png(path: Path | str, labels: Tensor, palette: Palette) -> None:
    """Write (H, W) class indices as a palette PNG: viewers show colours, programs read the indices back.

    Raises:
        ValueError: `labels` is not (H, W), or holds an index without a colour.
    """
    _require_labels(labels, palette)
    picture = Image.fromarray(labels.cpu().numpy().astype(np.uint8))
    picture.putpalette(_table(palette).flatten().tolist())
    picture.save(path, format="PNG")


def _table(palette: Palette) -> Tensor:
    table = torch.zeros(256, 3, dtype=torch.uint8)
    table[: len(palette)] = torch.tensor(list(palette), dtype=torch.uint8)
    return table


def _require_labels(labels: Tensor, palette: Palette) -> None:
    if labels.ndim != 2:
        raise ValueError(f"labels are {tuple(labels.shape)}, expected (H, W)")
    found = np.unique(labels.cpu().numpy()).tolist()
    if bad := [value for value in found if value != IGNORE_INDEX and not 0 <= value < len(palette)]:
        raise ValueError(f"labels hold {bad[:5]}, expected 0-{len(palette) - 1} for {len(palette)} colours, or 255")
