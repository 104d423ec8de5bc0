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
    # bmm, as matmul would copy the covariance to fold it; both products by class, so that only one (C, C, A) is made
    projected = torch.bmm(weight.expand(len(covariance), -1, -1), covariance)
    return torch.bmm(projected.transpose(0, 1), weight.unsqueeze(2)).squeeze(2).T


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


def contrast_variances_of_classes(weight: Tensor, covariance: Tensor) -> Tensor:
    """Variance of logit k less logit c, for features of each of n classes: D_a[c, k].

    Args:
        weight: (C, A).
        covariance: (n, A) diagonal or (n, A, A) full covariances.

    Returns:
        (n, C, C), indexed [a, c, k], symmetric, >= 0 with a zero diagonal.
    """
    weight = _centred(weight)
    covariance = covariance.detach()
    projected = weight * covariance.unsqueeze(1) if covariance.ndim == 2 else weight @ covariance
    cross = projected @ weight.T
    squares = cross.diagonal(dim1=-2, dim2=-1).unsqueeze(-2)
    return _squared_distances(squares, cross)


def _centred(weight: Tensor) -> Tensor:
    """The weights less their mean: differences stay, and no common offset cancels away their digits."""
    return weight - weight.mean(0)


def _squared_distances(squares: Tensor, cross: Tensor) -> Tensor:
    """|w_k|^2 + |w_c|^2 - 2 w_c.w_k in the metric of row c; rounding must not push it below 0."""
    own = cross.diagonal(dim1=-2, dim2=-1).unsqueeze(-1)
    distances = (squares + own - 2 * cross).clamp_min(0)
    return distances.masked_fill(torch.eye(cross.shape[-1], dtype=torch.bool, device=cross.device), 0.0)
