"""The running covariance of each class's features, the one piece of state that FAKD's augmentation needs."""

import torch
import torch.distributed as dist
from torch import Tensor, nn

from fakd.functional.inputs import check_labels, no_autocast
from fakd.functional.moments import Moments, class_moments, merge_moments, working_dtype
from fakd.machine import processes


class ClassCovariance(nn.Module):
    """Mean and covariance of the features of each class over all pixels seen so far.

    After any split into batches and over any number of processes it equals the population covariance of the
    concatenation. Under `torch.distributed` every `update` merges the batches of all ranks, so that all hold
    the same state; it must then be called on every rank.

    Args:
        num_classes: C.
        num_channels: A.
        diagonal: keep the variances (C, A) alone, O(B h w A) an update; else (C, A, A).
        window: the most pixels that the past may weigh, so that old features fade; None, the paper's, never forgets.

    Attributes:
        count: (C,) int64, pixels of each class (at most `window`).
        mean: (C, A).
        covariance: (C, A) or (C, A, A); 0 for a class never seen.

    All of it is in the state_dict.

    Source: ISDA (Wang et al. 2019), Eq. 3-4, which FAKD cites for its covariance.

    Example:
        >>> import torch
        >>> from fakd import ClassCovariance
        >>> estimate = ClassCovariance(num_classes=2, num_channels=1)
        >>> estimate.update(torch.tensor([1.0, 3.0]).view(1, 1, 1, 2), torch.tensor([[[0, 0]]]))
        >>> estimate.update(torch.tensor([5.0, 9.0]).view(1, 1, 1, 2), torch.tensor([[[0, 255]]]))
        >>> estimate.count.tolist(), estimate.mean[0].item()
        ([3, 0], 3.0)
        >>> round(estimate.covariance[0].item(), 4)
        2.6667
    """

    count: Tensor
    mean: Tensor
    covariance: Tensor
    mean_rounding: Tensor

    def __init__(self, num_classes: int, num_channels: int, diagonal: bool = True, window: int | None = None) -> None:
        super().__init__()
        if num_classes < 1 or num_channels < 1:
            raise ValueError(f"num_classes and num_channels must be 1 or more, got {num_classes} and {num_channels}.")
        if window is not None and window < 1:
            raise ValueError(f"window must be a number of pixels, 1 or more, or None, got {window}.")
        self.num_classes, self.num_channels = num_classes, num_channels
        self.diagonal, self.window = diagonal, window
        shape = (num_classes, num_channels) if diagonal else (num_classes, num_channels, num_channels)
        self.register_buffer("count", torch.zeros(num_classes, dtype=torch.int64))
        self.register_buffer("mean", torch.zeros(num_classes, num_channels))
        self.register_buffer("covariance", torch.zeros(shape))
        # What float32 cannot hold of the mean: with |mean| >> std, or after 10^9 pixels, it would show in the
        # covariance. Two float32 rather than a float64 because some devices have none.
        self.register_buffer("mean_rounding", torch.zeros(num_classes, num_channels))

    @torch.no_grad()
    def update(self, features: Tensor, labels: Tensor) -> None:
        """Take in a batch.

        Args:
            features: (B, A, h, w), finite; detached.
            labels: (B, h, w) integers 0..C-1, 255 = ignore.

        Raises:
            ValueError: a shape or, on the CPU, a label value is not as above.
        """
        if features.ndim != 4 or features.shape[1] != self.num_channels:
            raise ValueError(
                f"features must be (B, A, h, w) with A = {self.num_channels}, got {tuple(features.shape)}."
            )
        check_labels(labels, features, self.num_classes)
        with no_autocast(features):
            batch = class_moments(features, labels, self.num_classes, diagonal=self.diagonal)
            if processes() > 1:
                batch = _merge_ranks(batch)
            working = working_dtype(self.mean)
            mean = self.mean.to(working) + self.mean_rounding.to(working)
            merged = merge_moments(Moments(self.count, mean, self.covariance), batch)
            self.count.copy_(merged.count if self.window is None else merged.count.clamp_max(self.window))
            self.mean.copy_(merged.mean)
            self.mean_rounding.copy_(merged.mean - self.mean.to(working))
            # another tensor: a loss may wait for its backward pass with the one before
            self.covariance = merged.covariance

    def extra_repr(self) -> str:
        """The arguments, as `repr` shows them."""
        return f"{self.num_classes}, {self.num_channels}, diagonal={self.diagonal}, window={self.window}"


def _merge_ranks(local: Moments) -> Moments:
    """Moments of the union of all ranks' batches, the same on every rank."""
    count = local.count.clone()
    dist.all_reduce(count)
    share = (local.count.to(local.mean) / count.clamp_min(1)).unsqueeze(1)
    mean = share * local.mean
    dist.all_reduce(mean)
    shift = (local.mean - mean).to(local.covariance)
    if local.covariance.ndim == 2:
        covariance = local.covariance + shift.square()
    else:
        covariance = torch.baddbmm(local.covariance, shift.unsqueeze(2), shift.unsqueeze(1))
        share = share.unsqueeze(2)
    covariance *= share.to(covariance)
    dist.all_reduce(covariance)
    return Moments(count, mean, covariance)
