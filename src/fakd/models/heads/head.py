"""What all decode heads have in common: their base class, and the layers that they are made of."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F


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
    last_blocks: ClassVar[bool] = False
    """Which stages a plain transformer has: the outputs of its last four blocks, or of four evenly spread ones."""

    def __init__(self, in_channels: Sequence[int], in_strides: Sequence[int], channels: int) -> None:
        super().__init__()

    @classmethod
    def default_channels(cls, in_channels: Sequence[int]) -> int:
        """Return the width for an encoder: 512 after a wide last stage (at least 1024 channels), else 128."""
        return 512 if in_channels[-1] >= 1024 else 128

    @abstractmethod
    def forward(self, stages: Sequence[Tensor]) -> Tensor:
        """Return features (B, channels, h, w), before any dropout."""


def conv_bn_relu(
    in_channels: int, out_channels: int, kernel_size: int, *, dilation: int = 1, groups: int = 1
) -> nn.Sequential:
    """Return a size-preserving convolution without bias, batch normalisation (eps 1e-5) and ReLU."""
    padding = kernel_size // 2 * dilation
    conv = nn.Conv2d(
        in_channels, out_channels, kernel_size, padding=padding, dilation=dilation, groups=groups, bias=False
    )
    # He initialisation keeps the variance through a ReLU; the default of Conv2d shrinks it.
    nn.init.kaiming_normal_(conv.weight, mode="fan_out", nonlinearity="relu")
    return nn.Sequential(conv, nn.BatchNorm2d(out_channels, eps=1e-5), nn.ReLU(inplace=True))


def separable_conv_bn_relu(in_channels: int, out_channels: int, *, dilation: int = 1) -> nn.Sequential:
    """Return a 3x3 convolution of each channel by itself, then a 1x1 of all; both normalised and rectified."""
    depthwise = conv_bn_relu(in_channels, in_channels, 3, dilation=dilation, groups=in_channels)
    return nn.Sequential(depthwise, conv_bn_relu(in_channels, out_channels, 1))


def pixel_classifier(in_channels: int, num_classes: int) -> nn.Conv2d:
    """Return a 1x1 convolution with bias from features to class scores, started near zero."""
    conv = nn.Conv2d(in_channels, num_classes, kernel_size=1)
    # Small weights start the training at the uniform distribution, so at a loss of log(num_classes).
    nn.init.normal_(conv.weight, std=0.01)
    nn.init.zeros_(conv.bias)  # type: ignore[arg-type]
    return conv


class GlobalPool(nn.Sequential):
    """The image's average, mixed by a 1x1 convolution: one value per image and channel.

    Args:
        in_channels: channels of the map.
        channels: channels of the result.
        size: cells of the grid along each side; 1 is the whole image.
    """

    def __init__(self, in_channels: int, channels: int, size: int = 1) -> None:
        super().__init__(nn.AdaptiveAvgPool2d(size), conv_bn_relu(in_channels, channels, 1))
        self.cells = size**2

    def forward(self, x: Tensor) -> Tensor:
        """Return the grid (B, channels, size, size) of a map (B, in_channels, h, w).

        Raises:
            ValueError: training with one image, of which batch normalisation sees a single value per channel.
        """
        if self.cells == 1:
            require_two_images(x, self)
        pool, mix = self
        grid: Tensor = mix(pool(x))
        return grid


def require_two_images(x: Tensor, module: nn.Module) -> None:
    """Raise ValueError where `module` is to learn from the average of one image alone."""
    if x.shape[0] == 1 and any(type(m) is nn.BatchNorm2d and m.training for m in module.modules()):
        raise ValueError(
            "a head that pools the whole image got a batch of 1 image in training, where batch normalisation of "
            "the pooled value needs at least 2: use a larger batch (and drop_last), SyncBatchNorm, or model.eval()"
        )


def resize(x: Tensor, like: Tensor) -> Tensor:
    """Enlarge or shrink a map bilinearly (corners not aligned) to the height and width of another."""
    # an exported graph must do for maps of other sizes too
    if x.shape[2:] == like.shape[2:] and not torch.onnx.is_in_onnx_export():
        return x
    return F.interpolate(x, size=like.shape[2:], mode="bilinear", align_corners=False)
