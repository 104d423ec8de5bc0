"""A head of one's own: every map of the encoder, brought to one width and size, and added up."""

from collections.abc import Sequence

from torch import Tensor, nn

from fakd.models.heads.head import DecodeHead, conv_bn_relu, resize


class SumHead(DecodeHead):
    """Adds the encoder's maps at the size of the finest, and mixes the sum with a 3x3 convolution."""

    default_output_stride = 32
    default_aux = False

    def __init__(self, in_channels: Sequence[int], in_strides: Sequence[int], channels: int) -> None:
        super().__init__(in_channels, in_strides, channels)
        self.narrow = nn.ModuleList(conv_bn_relu(width, channels, 1) for width in in_channels)
        self.mix = conv_bn_relu(channels, channels, 3)

    def forward(self, stages: Sequence[Tensor]) -> Tensor:
        finest, *coarser = (narrow(stage) for narrow, stage in zip(self.narrow, stages, strict=True))
        return self.mix(finest + sum(resize(stage, finest) for stage in coarser))
