"""Variances of logits under Gaussian features, from the classifier's weight and the class covariances."""

import torch
from torch import Tensor


def logit_variances(weight: Tensor, covariance: Tensor) -> Tensor:
    """Variance of logit c for features of class y: Q[y, c] = w_c^T Sigma_y w_c.

    Args:
        weight: (C, A).
        covariance: (C, A) diagonal or (C, A, A) full.

    Returns:
        (C, C), indexed [y, c].
    """
    covariance = covariance.detach()
    if covariance.ndim == 2:
        return covariance @ weight.square().T
    return ((weight @ covariance) * weight).sum(-1)


def contrast_variances(weight: Tensor, covariance: Tensor) -> Tensor:
    """Variance of logit k less logit c, for features of class c: D_c[c, k] = (w_k - w_c)^T Sigma_c (w_k - w_c).

    Args:
        weight: (C, A).
        covariance: (C, A) diagonal or (C, A, A) full.

    Returns:
        (C, C), indexed [c, k], >= 0 with a zero diagonal.
    """
    covariance, weight = covariance.detach(), _centred(weight)
    projected = weight * covariance if covariance.ndim == 2 else (weight.unsqueeze(1) @ covariance).squeeze(1)
    cross = projected @ weight.T  # w_c^T Sigma_c w_k
    return _squared_distances(logit_variances(weight, covariance), cross)


def contrast_variances_of_class(weight: Tensor, covariance: Tensor) -> Tensor:
    """Variance of logit k less logit c, for features of one class a: D_a[c, k].

    Args:
        weight: (C, A).
        covariance: (A,) diagonal or (A, A) full covariance of class a.

    Returns:
        (C, C), indexed [c, k], symmetric, >= 0 with a zero diagonal.
    """
    covariance, weight = covariance.detach(), _centred(weight)
    projected = weight * covariance if covariance.ndim == 1 else weight @ covariance
    cross = projected @ weight.T
    return _squared_distances(cross.diagonal().expand_as(cross), cross)


def _centred(weight: Tensor) -> Tensor:
    """The weights less their mean: differences stay, and no common offset cancels away their digits."""
    return weight - weight.mean(0)


def _squared_distances(squares: Tensor, cross: Tensor) -> Tensor:
    """|w_k|^2 + |w_c|^2 - 2 w_c.w_k in the metric of row c; rounding must not push it below 0."""
    distances = (squares + squares.diagonal().unsqueeze(1) - 2 * cross).clamp_min(0)
    return distances.masked_fill(torch.eye(len(cross), dtype=torch.bool, device=cross.device), 0.0)
