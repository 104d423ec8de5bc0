"""The pyramid pooling head of PSPNet."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from fakd.models.heads.head import DecodeHead, GlobalPool, conv_bn_relu, resize

POOL_SIZES = (1, 2, 3, 6)


class PSPHead(DecodeHead):
    """Adds to every position what the image looks like around it, averaged on four grids.

    The last map is averaged on grids of 1x1, 2x2, 3x3 and 6x6 cells; each grid goes through a 1x1 convolution to
    `channels`, is enlarged bilinearly and is concatenated after the map itself; a 3x3 convolution then mixes all
    of it to `channels`. The 1x1 grid leaves one value per image and channel, so training needs at least two
    images per batch.

    Args:
        in_channels: channels of the encoder's stages, fine to coarse; only the last is read.
        in_strides: image pixels per cell of the stages; the grids do not depend on them.
        channels: A, the channels of the result.

    Source:
        Zhao et al., Pyramid Scene Parsing Network, CVPR 2017, section 3.2.
    """

    def __init__(self, in_channels: Sequence[int], in_strides: Sequence[int], channels: int) -> None:
        super().__init__(in_channels, in_strides, channels)
        last = in_channels[-1]
        self.pools = nn.ModuleList(GlobalPool(last, channels, size) for size in POOL_SIZES)
        self.bottleneck = conv_bn_relu(last + len(POOL_SIZES) * channels, channels, 3)

    def forward(self, stages: Sequence[Tensor]) -> Tensor:
        """Return features (B, channels, h, w) at the size of the last of `stages`, before any dropout.

        Raises:
            ValueError: training with one image per batch.
        """
        x = stages[-1]
        grids = [resize(pool(x), x) for pool in self.pools]
        features: Tensor = self.bottleneck(torch.cat([x, *grids], dim=1))
        return features
