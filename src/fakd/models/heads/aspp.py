"""The head of DeepLabV3+: atrous spatial pyramid pooling, then detail from the first stage."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from fakd.models.heads.head import DecodeHead, GlobalPool, conv_bn_relu, resize, separable_conv_bn_relu

LOW_LEVEL_CHANNELS = 48
"""Width to which the first stage is squeezed, so that it cannot outweigh the pyramid."""
REACHES = (96, 192, 288)
"""Distance in image pixels between the taps of the dilated branches: 12, 24, 36 cells at output stride 8."""


class ASPPHead(DecodeHead):
    """Looks around every position at four distances and at the whole image, then sharpens the edges.

    Five branches read the last map: the image's average; a 1x1 convolution; three 3x3 separable convolutions
    dilated by 12, 24 and 36 cells at output stride 8 (6, 12, 18 at 16). A 3x3 convolution mixes them to
    `channels`; the result is enlarged to the first stage, which joins it with 48 channels, and two 3x3 separable
    convolutions mix both. The image's average is one value per image and channel, so training needs at least two
    images per batch.

    Args:
        in_channels: channels of the encoder's stages, fine to coarse; the first and the last are read.
        in_strides: image pixels per cell of the stages; the last one sets the dilations.
        channels: A, the channels of every branch and of the result.

    Source:
        Chen et al., Encoder-Decoder with Atrous Separable Convolution for Semantic Image Segmentation, ECCV 2018,
        section 3.1.
    """

    def __init__(self, in_channels: Sequence[int], in_strides: Sequence[int], channels: int) -> None:
        super().__init__(in_channels, in_strides, channels)
        last = in_channels[-1]
        self.image_pool = GlobalPool(last, channels)
        dilations = [reach // in_strides[-1] for reach in REACHES]
        self.branches = nn.ModuleList(
            [
                conv_bn_relu(last, channels, 1),
                *(separable_conv_bn_relu(last, channels, dilation=dilation) for dilation in dilations),
            ]
        )
        self.bottleneck = conv_bn_relu((2 + len(dilations)) * channels, channels, 3)
        self.low_level = conv_bn_relu(in_channels[0], LOW_LEVEL_CHANNELS, 1)
        self.refine = nn.Sequential(
            separable_conv_bn_relu(channels + LOW_LEVEL_CHANNELS, channels), separable_conv_bn_relu(channels, channels)
        )

    def forward(self, stages: Sequence[Tensor]) -> Tensor:
        """Return features (B, channels, h, w) at the size of the first of `stages`, before any dropout.

        Raises:
            ValueError: training with one image per batch.
        """
        x, detail = stages[-1], self.low_level(stages[0])
        context = self.bottleneck(torch.cat([resize(self.image_pool(x), x), *(b(x) for b in self.branches)], dim=1))
        features: Tensor = self.refine(torch.cat([resize(context, detail), detail], dim=1))
        return features
