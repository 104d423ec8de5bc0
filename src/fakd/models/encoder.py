"""Encoders: any of timm that gives maps, with strides traded for dilation where it can, at any image size."""

from collections.abc import Sequence
from statistics import fmean

import torch
from torch import Tensor, nn

from fakd.models.any_size import filled_up, of_image
from fakd.models.backbones import layout_of
from fakd.models.timm_body import plan_body


class Encoder(nn.Module):
    """A timm network without its classifier, whose last map is at `output_stride`.

    Once a stage has reached the output stride, later strides become 1 and later 3x3 convolutions are dilated by
    the stride they lost; the first block of such a stage keeps the dilation of the stage before. Transformers and
    others that cannot be dilated have the strides that they have. All weights are random.

    Images may have any size: where a network takes sides that divide by its patches or windows, they are filled up
    at the right and the bottom with the mean colour, and the maps are cropped to the image.

    Args:
        backbone: a key of `BACKBONES` or a timm name.
        output_stride: image pixels per cell of the last map.
        or_natural: whether the network's own stride will do where it cannot give that one.
        last_blocks: of a network whose maps all have one stride, as a plain ViT's, whether its stages are the outputs
            of the last four blocks; else of four that are evenly spread over its depth.
        in_channels: of the images; where they are not RGB, mean and deviation are those of red, green and blue on
            average.

    Raises:
        ValueError: the name is unknown, or the network has no maps at that stride or of any image size.
    """

    def __init__(
        self,
        backbone: str,
        output_stride: int = 8,
        *,
        or_natural: bool = False,
        last_blocks: bool = False,
        in_channels: int = 3,
    ) -> None:
        super().__init__()
        plan = plan_body(backbone, output_stride, or_natural, last_blocks, in_channels)
        layout = layout_of(backbone)
        body = plan.build(layout)
        self.sides = plan.sides
        self.body: nn.Module = body
        self.channels: tuple[int, ...] = tuple(body.feature_info.channels()[-4:])
        self.strides: tuple[int, ...] = tuple(body.feature_info.reduction()[-4:])
        cfg = body.default_cfg
        self.image_mean: Tensor = _by_channel(layout.mean or cfg["mean"], in_channels)
        self.image_std: Tensor = _by_channel(layout.std or cfg["std"], in_channels)

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        """Return the last four maps (fewer if the network has fewer) of normalised images (B, in_channels, H, W)."""
        # ResNets also offer their stem's map; the heads and the methods count stages from 1 to 4.
        maps = self.body(filled_up(x, self.sides.multiple))[-4:]
        if self.sides.channels_last:
            maps = [map_.permute(0, 3, 1, 2) for map_ in maps]
        if self.sides.multiple > 1:
            maps = [of_image(map_, x, stride) for map_, stride in zip(maps, self.strides, strict=True)]
        return tuple(maps)


def _by_channel(colour: Sequence[float], channels: int) -> Tensor:
    numbers = colour if channels == len(colour) else [fmean(colour)] * channels
    return torch.tensor(numbers).view(1, channels, 1, 1)
