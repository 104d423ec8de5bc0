"""The head of UPerNet, as segmentation_models_pytorch builds it."""

from collections.abc import Sequence
from typing import ClassVar

from torch import Tensor, nn

from fakd.models.foreign.config import library
from fakd.models.heads.head import DecodeHead, require_two_images


class UPerHead(DecodeHead):
    """Pools the last map as PSPNet does, adds it to the finer ones from stage to stage, and joins them all.

    The pyramid's 1x1 grid leaves one value per image and channel, so training needs at least two images per batch.

    Args:
        in_channels: channels of the encoder's stages, fine to coarse; all are read.
        in_strides: image pixels per cell of the stages; not needed, as sizes are read off the maps.
        channels: A, the width of the pyramid and of the result.

    Raises:
        ModuleNotFoundError: segmentation_models_pytorch is not installed.

    Source:
        Xiao et al., Unified Perceptual Parsing for Scene Understanding, ECCV 2018, section 3.2.
    """

    default_output_stride: ClassVar[int] = 32

    def __init__(self, in_channels: Sequence[int], in_strides: Sequence[int], channels: int) -> None:
        super().__init__(in_channels, in_strides, channels)
        decoders = library("segmentation_models_pytorch.decoders.upernet.decoder", "smp")
        # Its encoders give two maps more, of the image's own size and of half of it, which it does not read.
        self.decoder: nn.Module = decoders.UPerNetDecoder(
            encoder_channels=(0, 0, *in_channels), encoder_depth=len(in_channels) + 1, decoder_channels=channels
        )

    @classmethod
    def default_channels(cls, in_channels: Sequence[int]) -> int:
        """Return 256, as the library has it."""
        return 256

    def forward(self, stages: Sequence[Tensor]) -> Tensor:
        """Return features (B, channels, h, w) at the size of the first of `stages`, before any dropout.

        Raises:
            ValueError: training with one image per batch.
        """
        require_two_images(stages[-1], self)
        features: Tensor = self.decoder([None, None, *stages])
        return features
