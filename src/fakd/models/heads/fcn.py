"""Fully convolutional heads: of one map (auxiliary), and of all maps concatenated."""

from collections.abc import Sequence
from typing import ClassVar

import torch
from torch import Tensor, nn

from fakd.models.heads.head import DecodeHead, conv_bn_relu, pixel_classifier, resize


class FCNHead(nn.Module):
    """Scores classes from one encoder map, to give the encoder's middle a loss of its own in training.

    Args:
        in_channels: channels of the map.
        channels: channels between the 3x3 convolution and the classifier.
        num_classes: C.
        dropout: probability of dropping a whole channel before the classifier.

    Source:
        Zhao et al., Pyramid Scene Parsing Network, CVPR 2017, section 3.3 (deep supervision).
    """

    def __init__(self, in_channels: int, channels: int, num_classes: int, dropout: float) -> None:
        super().__init__()
        self.conv = conv_bn_relu(in_channels, channels, 3)
        self.dropout = nn.Dropout2d(dropout)
        self.classifier = pixel_classifier(channels, num_classes)

    def forward(self, x: Tensor) -> Tensor:
        """Return scores (B, C, h, w) for a map (B, in_channels, h, w)."""
        scores: Tensor = self.classifier(self.dropout(self.conv(x)))
        return scores


class FCNConcatHead(DecodeHead):
    """Enlarges every stage to the first one's size, concatenates them, and mixes them by a 1x1 convolution.

    Made for encoders that keep fine maps all the way, as HRNet; on others it costs little and sees less.

    Args:
        in_channels: channels of the encoder's stages, fine to coarse; all are read.
        in_strides: image pixels per cell of the stages; not needed, as sizes are read off the maps.
        channels: A, the channels of the result; by default the sum of `in_channels`.

    Source:
        Sun et al., High-Resolution Representations for Labeling Pixels and Regions, arXiv:1904.04514, section 3.
    """

    default_output_stride: ClassVar[int] = 32
    default_dropout: ClassVar[float] = 0.0
    default_aux: ClassVar[bool] = False

    def __init__(self, in_channels: Sequence[int], in_strides: Sequence[int], channels: int) -> None:
        super().__init__(in_channels, in_strides, channels)
        self.mix = conv_bn_relu(sum(in_channels), channels, 1)

    @classmethod
    def default_channels(cls, in_channels: Sequence[int]) -> int:
        """Return the sum of the stages' channels."""
        return sum(in_channels)

    def forward(self, stages: Sequence[Tensor]) -> Tensor:
        """Return features (B, channels, h, w) at the size of the first of `stages`, before any dropout."""
        features: Tensor = self.mix(torch.cat([resize(stage, stages[0]) for stage in stages], dim=1))
        return features
