"""The auxiliary head: a small fully convolutional classifier on an inner stage."""

from torch import Tensor, nn

from fakd.models.layers import conv_bn_relu, pixel_classifier


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
