"""The heads that say what features are worth: a batch normalisation and the classifier, nothing else."""

from collections.abc import Sequence
from typing import ClassVar

import torch
from torch import Tensor, nn

from fakd.models.heads.head import DecodeHead, resize


class LinearHead(DecodeHead):
    """Normalises the encoder's last map; the 1x1 classifier is all that mixes its channels.

    Args:
        in_channels: channels of the encoder's stages, fine to coarse; only the last is read.
        in_strides: image pixels per cell of the stages; not needed.
        channels: A, which is what the map has.

    Raises:
        ValueError: `channels` is another number.

    Source:
        Oquab et al., DINOv2: Learning Robust Visual Features without Supervision, arXiv:2304.07193, section 7.4.
    """

    default_dropout: ClassVar[float] = 0.0
    default_aux: ClassVar[bool] = False

    def __init__(self, in_channels: Sequence[int], in_strides: Sequence[int], channels: int) -> None:
        super().__init__(in_channels, in_strides, channels)
        if channels != (width := self.default_channels(in_channels)):
            raise ValueError(
                f"a linear head is as wide as the maps that it reads, {width} channels, got {channels}: leave the "
                "head's channels out"
            )
        self.norm = nn.BatchNorm2d(channels)

    @classmethod
    def default_channels(cls, in_channels: Sequence[int]) -> int:
        """Return the last stage's channels."""
        return in_channels[-1]

    def forward(self, stages: Sequence[Tensor]) -> Tensor:
        """Return features (B, channels, h, w) at the size of the last of `stages`."""
        features: Tensor = self.norm(stages[-1])
        return features


class LinearConcatHead(LinearHead):
    """Enlarges every stage to the first one's size, concatenates and normalises them; the classifier does the rest.

    Of a plain transformer, the stages are the outputs of its last four blocks.

    Args:
        in_channels: channels of the encoder's stages, fine to coarse; all are read.
        in_strides: image pixels per cell of the stages; not needed, as sizes are read off the maps.
        channels: A, which is the sum of `in_channels`.

    Raises:
        ValueError: `channels` is another number.

    Source:
        As for `LinearHead`: its "+ms" joins four layers.
    """

    default_output_stride: ClassVar[int] = 32
    last_blocks: ClassVar[bool] = True

    @classmethod
    def default_channels(cls, in_channels: Sequence[int]) -> int:
        """Return the sum of the stages' channels."""
        return sum(in_channels)

    def forward(self, stages: Sequence[Tensor]) -> Tensor:
        """Return features (B, channels, h, w) at the size of the first of `stages`."""
        features: Tensor = self.norm(torch.cat([resize(stage, stages[0]) for stage in stages], dim=1))
        return features
