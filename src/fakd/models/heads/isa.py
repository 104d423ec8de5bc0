"""The head of ISANet: attention over the whole image in two sparse steps."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from fakd.models.heads.head import DecodeHead, conv_bn_relu

ATTENTION_CHANNELS = 256
"""Width of queries and keys."""
BLOCK = 8
"""Cells along each side of the blocks between and within which the two steps look."""


class ISAHead(DecodeHead):
    """Lets every position look at the whole image through two attentions, each over a small group of positions.

    The map is cut into blocks of 8x8 cells (zeros are added around it where it is no multiple of 8: half before,
    the odd one after). First every position attends to those at the same place in all other blocks, then to those
    in its own block; so any two are joined at a cost far below that of all pairs. The result is concatenated
    before the map and mixed by a 1x1 convolution.

    Args:
        in_channels: channels of the encoder's stages, fine to coarse; only the last is read.
        in_strides: image pixels per cell of the stages; the blocks do not depend on them.
        channels: A, the channels of the result.

    Source:
        Huang et al., Interlaced Sparse Self-Attention for Semantic Segmentation, arXiv:1907.12273, section 3.2.
    """

    def __init__(self, in_channels: Sequence[int], in_strides: Sequence[int], channels: int) -> None:
        super().__init__(in_channels, in_strides, channels)
        self.in_conv = conv_bn_relu(in_channels[-1], channels, 3)
        self.global_relation = SelfAttention(channels)
        self.local_relation = SelfAttention(channels)
        self.out_conv = conv_bn_relu(2 * channels, channels, 1)

    def forward(self, stages: Sequence[Tensor]) -> Tensor:
        """Return features (B, channels, h, w) at the size of the last of `stages`, before any dropout."""
        x = self.in_conv(stages[-1])
        batch, channels, height, width = x.shape
        more_rows, more_columns = -height % BLOCK, -width % BLOCK
        padded = F.pad(
            x, (more_columns // 2, more_columns - more_columns // 2, more_rows // 2, more_rows - more_rows // 2)
        )
        rows, columns = padded.shape[2] // BLOCK, padded.shape[3] // BLOCK
        # (batch, row of the block, row in it, column of the block, column in it, channels)
        blocks = padded.permute(0, 2, 3, 1).reshape(batch, rows, BLOCK, columns, BLOCK, channels)

        same_place = blocks.permute(0, 2, 4, 5, 1, 3).reshape(-1, channels, rows, columns)
        seen = self.global_relation(same_place).reshape(batch, BLOCK, BLOCK, channels, rows, columns)
        same_block = seen.permute(0, 4, 5, 3, 1, 2).reshape(-1, channels, BLOCK, BLOCK)
        seen = self.local_relation(same_block).reshape(batch, rows, columns, channels, BLOCK, BLOCK)

        whole = seen.permute(0, 3, 1, 4, 2, 5).reshape(batch, channels, rows * BLOCK, columns * BLOCK)
        whole = whole[:, :, more_rows // 2 :, more_columns // 2 :][:, :, :height, :width]
        features: Tensor = self.out_conv(torch.cat([whole, x], dim=1))
        return features


class SelfAttention(nn.Module):
    """Every position of a map (N, channels, h, w) becomes a mean of all positions' values, weighted by likeness."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.key = self._projection(channels)
        self.query = self._projection(channels)
        self.value = nn.Conv2d(channels, channels, 1)
        self.output = conv_bn_relu(channels, channels, 1)

    @staticmethod
    def _projection(channels: int) -> nn.Sequential:
        return nn.Sequential(
            conv_bn_relu(channels, ATTENTION_CHANNELS, 1), conv_bn_relu(ATTENTION_CHANNELS, ATTENTION_CHANNELS, 1)
        )

    def forward(self, x: Tensor) -> Tensor:
        """Return the attended map (N, channels, h, w)."""
        # (N, 1, positions, channels): one head
        queries, keys, values = (
            part(x).flatten(2).transpose(1, 2).unsqueeze(1) for part in (self.query, self.key, self.value)
        )
        # softmax(queries keys^T / sqrt(256)) values
        attended = F.scaled_dot_product_attention(queries, keys, values).squeeze(1)
        output: Tensor = self.output(attended.transpose(1, 2).reshape(x.shape))
        return output
