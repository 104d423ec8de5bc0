"""The network that tells a student's score maps from a teacher's, given the image."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils.parametrizations import spectral_norm


class SelfAttention(nn.Module):
    """Every position looks at all others; at first, with `share` 0, it passes its input on unchanged.

        x + share * sum_j softmax_j(query_i . key_j) value_j

    Written as matrix products rather than fused attention, whose backward pass cannot be differentiated again,
    as the gradient penalty must.

    Args:
        channels: of the map; queries and keys have an eighth of them.

    Source: Zhang et al. 2019 (SAGAN).
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        inner = max(channels // 8, 1)
        self.query, self.key = nn.Conv2d(channels, inner, 1), nn.Conv2d(channels, inner, 1)
        self.value = nn.Conv2d(channels, channels, 1)
        self.share = nn.Parameter(torch.zeros(1))

    def forward(self, maps: Tensor) -> Tensor:
        """(B, channels, h, w) to the same shape."""
        query, key, value = (layer(maps).flatten(2) for layer in (self.query, self.key, self.value))
        attention = (query.mT @ key).softmax(-1)
        seen: Tensor = (value @ attention.mT).view_as(maps)
        return maps + self.share * seen


class Discriminator(nn.Module):
    """Rates class probabilities beside their image: high for the teacher's, low for the student's.

    Four convolutions of stride 2, self-attention after the last two, and the mean over positions of a last
    convolution: one number for each image, from a map of any size, a single position included.

    Args:
        num_classes: C.
        in_channels: of the images.
        width: channels after the first convolution; doubled by each of the next three.
        normalise: divide every convolution's weight by its spectral norm, which keeps the critic's slope bounded.

    Fidelity: the authors' critic looks at raw scores through a batch norm, and, unlike their paper's, not at
    the image; it ends in a 4x4 convolution that a map of 65x65 fits. Width and depth are theirs.

    Source: Liu et al., CVPR 2019 (SKDS); Zhang et al. 2019 (SAGAN).
    """

    def __init__(self, num_classes: int, *, in_channels: int = 3, width: int = 64, normalise: bool = True) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        incoming = num_classes + in_channels
        for depth in range(4):
            outgoing = width * 2**depth
            layers += [nn.Conv2d(incoming, outgoing, 3, stride=2, padding=1), nn.LeakyReLU(0.1)]
            layers += [SelfAttention(outgoing)] if depth >= 2 else []
            incoming = outgoing
        self.layers = nn.Sequential(*layers, nn.Conv2d(incoming, 1, 3, padding=1))
        if normalise:
            for layer in [module for module in self.modules() if isinstance(module, nn.Conv2d)]:
                spectral_norm(layer)

    def forward(self, probabilities: Tensor, images: Tensor) -> Tensor:
        """Rate a batch.

        Args:
            probabilities: (B, C, h, w) softmax over classes.
            images: (B, 3, H, W) RGB in [0, 1]; a position sees the mean of its pixels.

        Returns:
            (B,).
        """
        dtype = next(self.parameters()).dtype
        pixels = F.interpolate(images.to(dtype), size=probabilities.shape[-2:], mode="area")
        ratings: Tensor = self.layers(torch.cat([probabilities.to(dtype), 2 * pixels - 1], dim=1))
        return ratings.mean((1, 2, 3))
