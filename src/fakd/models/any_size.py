"""How an encoder reads images of any size: which sides timm's network takes, and filling images up to them."""

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from timm.layers import resample_abs_pos_embed  # type: ignore[attr-defined]
from timm.models.hiera import Hiera, Reroll, Unroll
from torch import Tensor, nn

# What windows of 7, 8, 12 or 16 cells at stride 32 take.
_WINDOWS = (32, 64, 224, 256, 384, 512)
_FAR = 3  # cells beside the expected size, beyond which a map does not follow the image


class Sides(NamedTuple):
    """What a network takes, and how its maps come out."""

    multiple: int
    """What the height and width of its images must divide by."""
    exact: bool
    """Whether a map has as many cells as its strides fit into the image, rounded up."""
    channels_last: bool
    """Whether maps are (B, h, w, channels)."""


def find_sides(body: Any, in_channels: int = 3) -> Sides:
    """Find out what sides a network takes, by running it without memory; any size, where it can.

    Args:
        body: a feature extractor of timm on PyTorch's meta device, in eval mode.
        in_channels: of the images.

    Raises:
        ValueError: it takes images of one size alone.
    """
    strides = body.feature_info.reduction()
    channels = body.feature_info.channels()
    reason = ""
    for multiple in sorted({1, strides[0], strides[-1], *_WINDOWS}):
        sizes = [(65, 97)] if multiple == 1 else [(multiple, 2 * multiple), (2 * multiple, 3 * multiple)]
        try:
            runs = [_run(body, size, channels, in_channels) for size in sizes]
        except Exception as error:  # each of timm's families refuses a size by another
            reason = reason or " ".join(str(error).split()) or type(error).__name__
            continue
        if all(_cells(size, strides) == shapes for size, (shapes, _) in zip(sizes, runs, strict=True)):
            return Sides(multiple, exact=True, channels_last=runs[0][1])
    # Networks that lose a row at every stride, as Inception does.
    size = (299, 331)
    try:
        shapes, last = _run(body, size, channels, in_channels)
    except Exception as error:
        reason = reason or " ".join(str(error).split()) or type(error).__name__
    else:
        pairs = zip(_cells(size, strides), shapes, strict=True)
        if all(abs(want - got) <= _FAR for wants, gots in pairs for want, got in zip(wants, gots, strict=True)):
            return Sides(1, exact=False, channels_last=last)
        reason = "its maps do not follow the size of the image"
    raise ValueError(reason)


def _run(
    body: nn.Module, size: tuple[int, int], channels: Sequence[int], in_channels: int
) -> tuple[list[tuple[int, ...]], bool]:
    """The heights and widths of all maps, and whether their channels come last."""
    with torch.no_grad():
        maps = body(torch.empty(1, in_channels, *size, device="meta"))
    if [map_.shape[1] for map_ in maps] == list(channels):
        return [tuple(map_.shape[2:]) for map_ in maps], False
    if [map_.shape[3] for map_ in maps] == list(channels):
        return [tuple(map_.shape[1:3]) for map_ in maps], True
    raise ValueError(f"its maps are {[tuple(map_.shape) for map_ in maps]}, expected {list(channels)} channels")


def _cells(size: tuple[int, int], strides: Sequence[int]) -> list[tuple[int, ...]]:
    return [tuple(math.ceil(side / stride) for side in size) for stride in strides]


def filled_up(images: Tensor, multiple: int) -> Tensor:
    """Fill normalised images (B, 3, H, W) up at the right and the bottom with the mean colour.

    Example:
        >>> filled_up(torch.ones(1, 3, 65, 28), 14).shape
        torch.Size([1, 3, 70, 28])
    """
    bottom, right = (-side % multiple for side in images.shape[-2:])
    # an exported graph must do for images of other sizes too
    if not bottom and not right and not torch.onnx.is_in_onnx_export():
        return images
    return F.pad(images, (0, right, 0, bottom))


def of_image(map_: Tensor, images: Tensor, stride: int) -> Tensor:
    """The cells of a map (B, channels, h, w) that show some of the images, which were filled up for it.

    Example:
        >>> of_image(torch.ones(1, 8, 5, 2), torch.ones(1, 3, 28, 20), 14).shape
        torch.Size([1, 8, 2, 2])
    """
    height, width = ((side + stride - 1) // stride for side in images.shape[-2:])
    return map_[..., :height, :width]


class AnySizeHiera(Hiera):
    """A Hiera that reads images of any sides that divide by 32; timm's reads those of the size it is built for.

    Position embeddings of the whole image are resampled to it.
    """

    def forward_intermediates(self, x: Tensor, *args: Any, **settings: Any) -> Any:
        """Return the maps of images (B, 3, H, W)."""
        size = tuple(x.shape[-2:])
        cells = [side // stride for side, stride in zip(size, self.patch_stride, strict=True)]
        if cells != self.tokens_spatial_shape:
            schedule = [self.q_stride] * len(self.stage_ends[:-1])
            self.tokens_spatial_shape = cells
            self.mask_spatial_shape = [count // unit for count, unit in zip(cells, self.mask_unit_size, strict=True)]
            self.unroll = Unroll(size, self.patch_stride, schedule)
            self.reroll = Reroll(size, self.patch_stride, schedule, self.stage_ends, self.q_pool)
        return super().forward_intermediates(x, *args, **settings)

    def _pos_embed(self, x: Tensor) -> Tensor:
        if self.pos_embed is None or self.pos_embed_win is not None:  # which timm resamples itself
            moved: Tensor = super()._pos_embed(x)
            return moved
        resampled: Tensor = resample_abs_pos_embed(self.pos_embed, self.tokens_spatial_shape, num_prefix_tokens=0)
        return x + resampled


def let_hiera_read_any_size(body: nn.Module) -> None:
    """Turn every Hiera of timm into an `AnySizeHiera`, in place; weights stay as they are."""
    for module in body.modules():
        if type(module) is Hiera:
            # Rebuilding it would be a second copy of timm's construction; only the forward pass differs.
            module.__class__ = AnySizeHiera
