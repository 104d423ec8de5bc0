"""Means and covariances of features per class, and how moments of two sets become those of their union."""

from dataclasses import dataclass

import torch
from torch import Tensor

from fakd.functional.inputs import full_precision
from fakd.types import IGNORE_INDEX

# How many float32 vectors are summed before the sum goes into float64: one long sum would drown its last terms.
_CHUNK = 1024


@dataclass(frozen=True)
class Moments:
    """Population moments of each class's feature vectors."""

    count: Tensor
    """(C,) int64, vectors seen."""
    mean: Tensor
    """(C, A); 0 where none was seen."""
    covariance: Tensor
    """(C, A) diagonal or (C, A, A) full, divided by the count; 0 where none was seen."""


def working_dtype(tensor: Tensor) -> torch.dtype:
    """float64 for the few numbers whose rounding would accumulate, where the device has it."""
    return torch.float32 if tensor.device.type == "mps" else torch.float64


def class_moments(features: Tensor, labels: Tensor, num_classes: int, *, diagonal: bool = True) -> Moments:
    """Population moments of the features of each class.

    Args:
        features: (B, A, h, w); half precision is computed in float32.
        labels: (B, h, w) integers 0..C-1; pixels of any other value are left out.
        num_classes: C.
        diagonal: only the variances (C, A), in O(B h w A); else (C, A, A).

    Returns:
        `Moments`, the mean in float64 where the device has it.

    The mean is taken first and the residuals' squares after it: sums of squares are never subtracted, so
    |mean| >> std costs no digits.

    Example:
        >>> import torch
        >>> features = torch.tensor([1.0, 3.0, 9.0]).view(1, 1, 1, 3)
        >>> moments = class_moments(features, torch.tensor([[[0, 0, 255]]]), num_classes=2)
        >>> moments.count.tolist(), moments.mean.flatten().tolist(), moments.covariance.flatten().tolist()
        ([2, 0], [2.0, 0.0], [1.0, 0.0])
    """
    vectors = full_precision(features.detach()).permute(0, 2, 3, 1).flatten(0, 2)
    labels = labels.flatten().long()
    # pixels of no class go to one more row, dropped at the end: nothing is selected by a mask
    rows = torch.where((labels >= 0) & (labels < num_classes) & (labels != IGNORE_INDEX), labels, num_classes)
    count = rows.new_zeros(num_classes + 1).index_add_(0, rows, torch.ones_like(rows))
    divisor = count.clamp_min(1).to(vectors.dtype).unsqueeze(1)

    chunks = len(rows) // _CHUNK + 1
    slots = rows + (num_classes + 1) * (torch.arange(len(rows), device=rows.device) // _CHUNK)

    def sum_by_class(values: Tensor) -> Tensor:
        sums = values.new_zeros(chunks * (num_classes + 1), values.shape[1]).index_add_(0, slots, values)
        return sums.view(chunks, num_classes + 1, -1).sum(0, dtype=working_dtype(values)).to(values.dtype)

    mean = sum_by_class(vectors) / divisor
    residuals = vectors - mean[rows]
    rounding = sum_by_class(residuals) / divisor  # what the float32 mean missed
    if diagonal:
        covariance = (sum_by_class(residuals.square()) / divisor - rounding.square()).clamp_min_(0)
    else:
        residuals -= rounding[rows]
        groups = torch.split(residuals[rows.argsort()], count.tolist())
        covariance = torch.stack([_outer_products(group) for group in groups]) / divisor.unsqueeze(2)
    exact_mean = mean.to(working_dtype(mean)) + rounding
    return Moments(count[:-1], exact_mean[:-1], covariance[:-1])


def _outer_products(vectors: Tensor) -> Tensor:
    """Sum of v v^T over the rows (N, A), _CHUNK at a time."""
    total = vectors.new_zeros(vectors.shape[1], vectors.shape[1], dtype=working_dtype(vectors))
    for part in torch.split(vectors, _CHUNK):
        total += part.T @ part
    return total.to(vectors.dtype)


def merge_moments(first: Moments, second: Moments) -> Moments:
    """Moments of the union of two sets, from theirs.

        Sigma = (n Sigma + m Sigma') / (n + m) + n m (mu - mu')(mu - mu')^T / (n + m)^2
        mu    = (n mu + m mu') / (n + m)

    Written as steps from the first set's values, so that a small second set loses no digits.

    Args:
        first: n, mu, Sigma.
        second: m, mu', Sigma' of the same shapes.

    Returns:
        `Moments` with covariance in the first's type, the mean in float64 where the device has it.

    Source: ISDA (Wang et al. 2019), Eq. 3-4; Chan et al. 1979.
    """
    working = working_dtype(first.mean)
    count = first.count + second.count
    share = (second.count.to(working) / count.clamp_min(1)).unsqueeze(1)
    difference = second.mean.to(working) - first.mean.to(working)
    mean = first.mean.to(working) + share * difference
    spread, share = (difference * (share * (1 - share)).sqrt()).to(first.covariance), share.to(first.covariance)
    if first.covariance.ndim == 2:
        covariance = first.covariance + share * (second.covariance - first.covariance) + spread.square()
    else:
        covariance = torch.lerp(first.covariance, second.covariance, share.unsqueeze(2))
        covariance = torch.baddbmm(covariance, spread.unsqueeze(2), spread.unsqueeze(1))
    return Moments(count, mean, covariance)
