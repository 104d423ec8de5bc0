"""What a convolution larger than 1x1 sees at each position, as the channels of a map."""

from collections.abc import Sequence

import torch.nn.functional as F
from torch import Tensor


def unfold_features(
    features: Tensor, kernel_size: Sequence[int], padding: Sequence[int], dilation: Sequence[int]
) -> Tensor:
    """Return the features as a 1x1 convolution would need them to do what a k x k one of stride 1 does.

    u_i = (s_j for the k^2 positions j that the convolution sees at i), zeros where it sees padding; then
    conv(s)_i = W u_i + b with W = weight.flatten(1), (C, A k^2).

    Args:
        features: (B, A, h, w), the convolution's input.
        kernel_size: its k, along height and width.
        padding: positions of zeros around the map.
        dilation: distance between the positions it sees.

    Returns:
        (B, A k^2, h', w') with the h' and w' of the convolution's output; `features` itself for a 1x1 one. It takes
        k^2 times the memory.

    Example:
        >>> import torch
        >>> convolution = torch.nn.Conv2d(4, 5, 3, padding=1)
        >>> features = torch.rand(2, 4, 6, 7)
        >>> seen = unfold_features(features, (3, 3), (1, 1), (1, 1))
        >>> seen.shape
        torch.Size([2, 36, 6, 7])
        >>> logits = torch.einsum("ca,bahw->bchw", convolution.weight.flatten(1), seen) + convolution.bias.view(5, 1, 1)
        >>> torch.allclose(logits, convolution(features), atol=1e-6)
        True
    """
    if tuple(kernel_size) == (1, 1):
        return features
    sides = zip(features.shape[-2:], kernel_size, padding, dilation, strict=True)
    height, width = (side + 2 * pad - gap * (k - 1) for side, k, pad, gap in sides)
    columns = F.unfold(features, tuple(kernel_size), tuple(dilation), tuple(padding))
    return columns.view(len(features), -1, height, width)
