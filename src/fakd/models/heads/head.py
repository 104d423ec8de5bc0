"""What all decode heads have in common."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import ClassVar

from torch import Tensor, nn


class DecodeHead(nn.Module, ABC):
    """Turns the maps of an encoder into the input of the 1x1 classifier.

    Every head is built as `Head(in_channels, in_strides, channels)`: channels and image pixels per cell of the
    encoder's stages, fine to coarse, and A, the channels of its result. The class attributes are what a network
    with this head gets unless it is told otherwise.
    """

    default_output_stride: ClassVar[int] = 8
    """Image pixels per cell of the encoder's last map."""
    default_dropout: ClassVar[float] = 0.1
    """Probability of dropping a whole channel before the classifier."""
    default_aux: ClassVar[bool] = True
    """Whether an auxiliary head on the second to last stage helps to train the encoder."""

    def __init__(self, in_channels: Sequence[int], in_strides: Sequence[int], channels: int) -> None:
        super().__init__()

    @classmethod
    def default_channels(cls, in_channels: Sequence[int]) -> int:
        """Return the width for an encoder: 512 after a wide last stage (at least 1024 channels), else 128."""
        return 512 if in_channels[-1] >= 1024 else 128

    @abstractmethod
    def forward(self, stages: Sequence[Tensor]) -> Tensor:
        """Return features (B, channels, h, w), before any dropout."""
