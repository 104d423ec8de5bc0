"""Maps brought to another size, to classes, to what a large convolution sees, to unions of classes, to their mean."""

import math
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from fakd.functional.inputs import full_precision, log_shares
from fakd.types import IGNORE_INDEX


def resize_logits(logits: Tensor, size: Sequence[int]) -> Tensor:
    """Resize (B, C, h, w) to `size` = (height, width), bilinear with align_corners=False; unchanged if it fits."""
    height, width = size
    if tuple(logits.shape[-2:]) == (height, width):
        return logits
    return F.interpolate(full_precision(logits), size=(height, width), mode="bilinear", align_corners=False)


def resize_labels(labels: Tensor, size: Sequence[int]) -> Tensor:
    """Resize (B, H, W) integer labels to `size` = (height, width), taking the pixel nearest each new centre.

    "nearest-exact" agrees with where `resize_logits` places its samples; plain "nearest" would be off by
    half a stride.

    Example:
        >>> import torch
        >>> resize_labels(torch.arange(8).view(1, 1, 8), (1, 2))
        tensor([[[2, 6]]])
    """
    height, width = size
    if tuple(labels.shape[-2:]) == (height, width):
        return labels
    # float32 holds every label exactly, and every device can resize it
    resized = F.interpolate(labels.unsqueeze(1).float(), size=(height, width), mode="nearest-exact")
    return resized.squeeze(1).to(labels.dtype)


def teacher_classes(logits: Tensor, confidence: float = 0.0) -> Tensor:
    """Return what a teacher takes every position for, where it is sure enough; the least class of several equal ones.

        y_i = argmax_c p_ic  where  max_c p_ic >= confidence,  else 255;   p_i = softmax(q_i)

    Args:
        logits: (B, C, h, w), the teacher's.
        confidence: 0 to 1, the least probability that counts.

    Returns:
        (B, h, w) int64 class indices, 255 = not sure.

    Example:
        >>> import torch
        >>> logits = torch.tensor([[0.9, 0.1], [0.4, 0.6]]).log().T.view(1, 2, 1, 2)
        >>> teacher_classes(logits, confidence=0.7).tolist()
        [[[0, 255]]]
    """
    probability, classes = full_precision(logits).softmax(1).max(1)
    return classes.where(probability >= confidence, IGNORE_INDEX)


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


def merge_logits(logits: Tensor, groups: Sequence[Sequence[int]]) -> Tensor:
    """Return the logits of unions of classes, m_c = log sum_{t in groups[c]} exp(q_t).

    At temperature 1 their softmax is the probability of each union, sum_{t in groups[c]} softmax(q)_t, given that the
    class is in one of the groups: classes in none are left out, and the others keep their proportions. A loss divides m
    by its temperature tau afterwards, which sharpens or flattens that merged distribution:
    softmax(m / tau)_c ~ (sum_t exp q_t)^(1 / tau), and not sum_t exp(q_t / tau), which would favour unions of many
    classes the more the larger tau is. A group of one class has that class's logit.

    Args:
        logits: (B, T, h, w).
        groups: for each of the C classes, the indices in 0..T-1 of those it consists of; at least one.

    Returns:
        (B, C, h, w), float32 or float64.

    Raises:
        ValueError: a group is empty, or an index is not below T.

    Example:
        >>> scores = torch.tensor([0.5, 0.3, 0.2]).log().view(1, 3, 1, 1)
        >>> merge_logits(scores, [[0, 2], [1]]).softmax(1).flatten()
        tensor([0.7000, 0.3000])
    """
    total = logits.shape[1]
    if wrong := [c for c, group in enumerate(groups) if not group or min(group) < 0 or max(group) >= total]:
        raise ValueError(f"each group must be one or more of the {total} classes, but groups {wrong[:10]} are not")
    logits = full_precision(logits)
    # slices, as an index on the host would make it wait for the device
    members = ([logits[:, index : index + 1] for index in group] for group in groups)
    return torch.cat(
        [parts[0] if len(parts) == 1 else torch.cat(parts, 1).logsumexp(1, keepdim=True) for parts in members], 1
    )


def mean_log_probability(logits: Sequence[Tensor], weights: Sequence[float]) -> Tensor:
    """Return what several networks say together: the logarithm of the weighted mean of their probabilities.

        m_c = log sum_k w_k softmax(q_k)_c,   w_k = weights_k / sum weights

    Maps of different sizes are first brought to that of the finest, see `resize_logits`. softmax(m) is the mean itself,
    and m <= 0: a loss that divides m by a temperature sharpens or flattens that mean.

    Args:
        logits: of each network (B, C, h_k, w_k).
        weights: of each, above 0.

    Returns:
        (B, C, h, w), float32 or float64, with the h and w of the map that has the most positions.

    Raises:
        ValueError: there is no network, or not one weight above 0 for each.

    Example:
        >>> import torch
        >>> maps = [torch.tensor(shares).log().view(1, 2, 1, 1) for shares in ([0.9, 0.1], [0.3, 0.7])]
        >>> mean_log_probability(maps, [2, 1]).exp().flatten()
        tensor([0.7000, 0.3000])
    """
    if not logits or len(weights) != len(logits) or not all(0 < weight < math.inf for weight in weights):
        raise ValueError(f"expected a weight above 0 for each of {len(logits)} networks, got {list(weights)}")
    size = max((maps.shape[-2:] for maps in logits), key=lambda sides: sides[0] * sides[1])
    total = None
    for maps, weight in zip(logits, weights, strict=True):
        share = log_shares(resize_logits(maps, size), 1.0, dim=1) + math.log(weight / sum(weights))
        total = share if total is None else torch.logaddexp(total, share)
    assert total is not None
    return total
