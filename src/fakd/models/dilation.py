"""Which convolutions of a dilated stage are dilated, where the benchmark's networks differ from timm's.

Names and shapes of the weights are the same either way, so a translated checkpoint would load and be silently wrong.
"""

from typing import Any

from timm.models.resnet import BasicBlock
from torch import nn


def dilate_first_convolution_only(resnet: Any) -> None:
    """Let blocks of two 3x3 convolutions dilate only the first, in place; timm dilates both."""
    for module in resnet.modules():
        if isinstance(module, BasicBlock):
            _dilate(module.conv2, 1)


def dilate_first_block_only(mobilenet: Any) -> None:
    """Let a stage's first block take its whole dilation and the others none, in place.

    timm does the reverse: the first block keeps the dilation of the stage before, and the others have their own.
    """
    for stage in mobilenet.blocks:
        dilation = stage[-1].conv_dw.dilation[0]
        for block in stage:
            _dilate(block.conv_dw, dilation if block is stage[0] else 1)


def _dilate(conv: nn.Conv2d, dilation: int) -> None:
    conv.dilation = (dilation, dilation)
    conv.padding = tuple(dilation * (size // 2) for size in conv.kernel_size)
