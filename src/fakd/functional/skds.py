"""Pair-wise distillation (SKDS): which places of an image resemble each other."""

import math
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from fakd.functional.inputs import check_choice, check_features, no_autocast

Pooling = Literal["average", "max"]


def pairwise_affinity(
    student_features: Tensor,
    teacher_features: Tensor,
    *,
    patch: int | tuple[int, int] = 2,
    pooling: Pooling = "average",
) -> Tensor:
    """Pull the similarity of every two places in the student's features toward that in the teacher's.

        1 / (B N^2) * sum_{b,i,j} ( cos(s_i, s_j) - cos(t_i, t_j) )^2

    over N nodes, each a patch of pixels pooled into one vector. A node of zeros (shorter than 1e-8) resembles nothing:
    its cosines are 0, and no gradient flows into it. Affinities have no channels, so A may differ between the two
    networks.

    Args:
        student_features: (B, A, h, w).
        teacher_features: (B, A', h, w); no gradient flows into them.
        patch: height and width of a node in pixels; at the lower and right edge a node has the pixels there are.
        pooling: how a patch becomes one vector: "average" or "max".

    Returns:
        A scalar from 0 to 4, 0 when both see the same similarities, whatever the length of the vectors.
        float32 (float64 for float64 input), also under autocast.

    Raises:
        ValueError: the shapes do not fit, or patch or pooling is none of the above.

    Normaliser: the mean over images and all N^2 pairs, as in the paper and the authors' code (weight 0.5 there is
    0.5 here).

    Fidelity: nodes are patches of 2x2 pixels, averaged, as in the paper. The authors' code takes the maximum over
    patches of half the map's height and width, which leaves 2x2 nodes (3x3 where a side is odd), and lets no
    gradient through the vectors' lengths; the first of the two is patch=(h // 2, w // 2), pooling="max".

    Memory: O(B N min(N, A + A')), about that of the features: with many nodes and few channels the (N, N) tables are
    never made. Their squared distance is then taken from tables of channels,

        |S - T|^2 = |F_s F_s^T|^2 - 2 |F_s F_t^T|^2 + |F_t F_t^T|^2,    S = F_s^T F_s,  T = F_t^T F_t

    which subtracts nearly equal numbers: in float32 the loss is then right to a few 1e-7, and the gradient to a share
    of about 1e-6 over the root of the loss, which is no more than rounding the vectors costs in either form.

    Source: Liu et al., CVPR 2019 (SKDS), pair-wise distillation; Liu et al. 2020, whose granularity is `patch`.

    Example:
        >>> import torch
        >>> features = torch.randn(2, 8, 6, 6)
        >>> pairwise_affinity(features, 3 * features).item() < 1e-10
        True
    """
    check_features(student_features, teacher_features)
    _check_nodes(patch, pooling)
    with no_autocast(student_features):
        types = student_features.dtype, teacher_features.dtype
        precision = torch.promote_types(torch.promote_types(*types), torch.float32)
        student = _directions(student_features.to(precision), patch, pooling)
        teacher = _directions(teacher_features.detach().to(precision), patch, pooling)
        batch, ours, nodes = student.shape
        theirs = teacher.shape[1]
        few_nodes = nodes * (ours + theirs) <= ours**2 + ours * theirs + theirs**2  # products to add up in either
        distance = _between_nodes if few_nodes else _between_channels
        return distance(student, teacher) / (batch * nodes**2)


def _between_nodes(student: Tensor, teacher: Tensor) -> Tensor:
    """|S - T|^2 over all images, from the unit vectors (B, A, N)."""
    difference: Tensor = student.mT @ student - teacher.mT @ teacher
    return difference.square().sum()


def _between_channels(student: Tensor, teacher: Tensor) -> Tensor:
    """The same by the traces of its parts; where rounding would take it below 0, it is 0."""

    def squared(first: Tensor, second: Tensor) -> Tensor:
        table: Tensor = first @ second.mT
        return table.square().sum()

    parts = squared(student, student) - 2 * squared(student, teacher) + squared(teacher, teacher)
    return parts.clamp_min(0)


def _directions(features: Tensor, patch: int | tuple[int, int], pooling: Pooling) -> Tensor:
    """Unit vectors of the nodes: (B, A, h, w) to (B, A, N)."""
    if pooling == "average":
        nodes = F.avg_pool2d(features, patch, ceil_mode=True, count_include_pad=False)
    else:
        nodes = F.max_pool2d(features, patch, ceil_mode=True)
    vectors = nodes.flatten(2)
    length: Tensor = vectors.norm(dim=1, keepdim=True)
    # x / inf is 0 with gradient 0, where x / max(length, epsilon) would have a gradient of 1 / epsilon; the gradient of
    # a node that is all but 0 would be infinite
    return vectors / length.where(length > 1e-8, math.inf)


def _check_nodes(patch: int | tuple[int, int], pooling: str) -> None:
    sides = patch if isinstance(patch, tuple) else (patch,)
    if len(sides) > 2 or not all(isinstance(side, int) and side >= 1 for side in sides):
        raise ValueError(f"patch must be 1 or more pixels, or such a height and width, got {patch!r}.")
    check_choice(Pooling, pooling=pooling)
