"""Means and covariances of features per class, and how moments of two sets become those of their union."""

from dataclasses import dataclass, replace
from functools import reduce

import torch
from torch import Tensor

from fakd.functional.inputs import full_precision, pixel_classes
from fakd.functional.kernels import ClassRuns, Tile, TileReader, feature_rows, feature_tiles

# The most vectors whose float32 sum is taken in one go.
_LONGEST_RUN = 1024

# Numbers in flight while outer products are summed.
_PRODUCTS_AT_ONCE = 2**24


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

    In each block of pixels the mean is taken first and the residuals' squares after it, and blocks are merged by
    `merge_moments`: sums of squares are never subtracted, so |mean| >> std costs no digits.

    Memory: two tiles of 4 MB and O(C A) on the CPU, two copies of the features, or of 128 MB of
    them, on a GPU; diagonal=False takes the result once more, and the features as rows where they are not
    channels-last.

    Example:
        >>> import torch
        >>> features = torch.tensor([1.0, 3.0, 9.0]).view(1, 1, 1, 3)
        >>> moments = class_moments(features, torch.tensor([[[0, 0, 255]]]), num_classes=2)
        >>> moments.count.tolist(), moments.mean.flatten().tolist(), moments.covariance.flatten().tolist()
        ([2, 0], [2.0, 0.0], [1.0, 0.0])
    """
    features, labels = features.detach(), labels.flatten()
    classes = pixel_classes(labels, num_classes)  # the one more is dropped at the end
    moments = _diagonal_moments(features, classes, num_classes)
    return moments if diagonal else replace(moments, covariance=_full_covariance(features, classes, moments))


def _diagonal_moments(features: Tensor, classes: Tensor, num_classes: int) -> Moments:
    """The moments of all blocks of pixels, merged."""
    reader = TileReader(features, next(feature_tiles(features))[0])
    return reduce(
        merge_moments, (_moments_of_block(reader, tiles, classes, num_classes) for tiles in feature_tiles(features))
    )


def _moments_of_block(reader: TileReader, tiles: list[Tile], classes: Tensor, num_classes: int) -> Moments:
    """The diagonal moments of the vectors of one block, channels by channels."""
    classes = classes[tiles[0][0]]
    runs = ClassRuns.sort(classes, num_classes + 1, _LONGEST_RUN)
    divisor = runs.count.clamp_min(1).unsqueeze(1)
    shape, like = (num_classes, tiles[-1][1].stop), reader.buffer
    moments = Moments(runs.count[:-1], like.new_empty(shape, dtype=working_dtype(like)), like.new_empty(shape))
    for pixels, channels in tiles:
        vectors = reader.read(pixels, channels)
        rounded = runs.sum(vectors) / divisor
        means = torch.index_select(rounded, 0, classes, out=reader.spare[: vectors.numel()].view_as(vectors))
        residuals = vectors.sub_(means)
        rounding = runs.sum(residuals) / divisor  # what the float32 mean missed
        square = runs.sum(residuals.square_()) / divisor
        moments.mean[:, channels] = rounded[:-1].to(moments.mean.dtype) + rounding[:-1]
        moments.covariance[:, channels] = (square - rounding.square())[:-1].clamp_min_(0)
    return moments


def _full_covariance(features: Tensor, classes: Tensor, moments: Moments) -> Tensor:
    """(C, A, A): products of residuals, summed over tiles of one class each, some tiles at a time."""
    rows, channels, num_classes = feature_rows(features), features.shape[1], len(moments.count)
    # Of the places in all tiles about a fifth stays empty: runs end with their class.
    longest = min(max(len(rows) // (4 * num_classes), 32), _LONGEST_RUN)
    runs = ClassRuns.sort(classes, num_classes + 1, longest)
    mean = torch.cat([moments.mean, torch.zeros_like(moments.mean[:1])])
    rounded = mean.to(moments.covariance)
    rounding = (mean - rounded).to(rounded)
    total = rounded.new_zeros(num_classes + 1, channels, channels)
    at_once = max(_PRODUCTS_AT_ONCE // (channels * max(channels, longest)), 1)
    for tiles, inside, owners in zip(
        *(torch.split(part, at_once) for part in (*runs.tiles(longest), runs.owners)), strict=True
    ):
        residuals = full_precision(rows[tiles]) - rounded[owners].unsqueeze(1)
        residuals -= rounding[owners].unsqueeze(1)
        residuals.masked_fill_(~inside.unsqueeze(2), 0.0)
        total.index_add_(0, owners, residuals.mT @ residuals)
    return total[:-1] / moments.count.clamp_min(1).to(total).view(-1, 1, 1)


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
