"""The one building block that the heads share."""

from torch import nn


def conv_bn_relu(in_channels: int, out_channels: int, kernel_size: int) -> nn.Sequential:
    """Return a size-preserving convolution without bias, batch normalisation (eps 1e-5) and ReLU."""
    conv = nn.Conv2d(in_channels, out_channels, kernel_size, padding=kernel_size // 2, bias=False)
    # He initialisation keeps the variance through a ReLU; the default of Conv2d shrinks it.
    nn.init.kaiming_normal_(conv.weight, mode="fan_out", nonlinearity="relu")
    return nn.Sequential(conv, nn.BatchNorm2d(out_channels, eps=1e-5), nn.ReLU(inplace=True))


def pixel_classifier(in_channels: int, num_classes: int) -> nn.Conv2d:
    """Return a 1x1 convolution with bias from features to class scores, started near zero."""
    conv = nn.Conv2d(in_channels, num_classes, kernel_size=1)
    # Small weights start the training at the uniform distribution, so at a loss of log(num_classes).
    nn.init.normal_(conv.weight, std=0.01)
    nn.init.zeros_(conv.bias)  # type: ignore[arg-type]
    return conv
