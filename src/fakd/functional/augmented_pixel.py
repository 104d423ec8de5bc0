"""FAKD over classes: pixel-wise distillation under Gaussian perturbations of the features."""

import torch
from torch import Tensor

from fakd.functional.inputs import Bound, check_augmentation, check_logits, full_precision, no_autocast
from fakd.functional.kd import pixel_kd
from fakd.functional.logmatmulexp import logmatmulexp
from fakd.functional.variance import contrast_variances, contrast_variances_of_class
from fakd.types import IGNORE_INDEX


def augmented_pixel_kd(
    student_logits: Tensor,
    teacher_logits: Tensor,
    labels: Tensor,
    classifier_weight: Tensor,
    covariance: Tensor,
    *,
    strength: float,
    temperature: float = 1.0,
    bound: Bound = "paper",
) -> Tensor:
    """Pull the student's class distribution toward the teacher's at every Gaussian perturbation of its features.

    The features of pixel i are s^_i ~ N(s_i, lambda * Sigma_{y_i}). The expectation of `pixel_kd` is at most

        tau^2/(B M) * sum_{b,i} { sum_c p_ic logsumexp_k( (z_ik - z_ic)/tau + lambda/(2 tau^2) D[c, k] ) - H(p_i) }

        bound="tight":  D = D_{y_i}, the covariance of the pixel's class; 0 where ignored (what the derivation gives)
        bound="paper":  D = D_c, the covariance of the class c that is summed; labels do not matter (as printed)

    with D_a[c, k] = (w_k - w_c)^T Sigma_a (w_k - w_c), p the teacher's distribution and H its entropy.

    Args:
        student_logits: (B, C, h, w) raw scores z of the unperturbed features.
        teacher_logits: (B, C, h, w) raw scores q; no gradient flows into them.
        labels: (B, h, w) integers 0..C-1; at 255 the features are not perturbed ("tight"). Never differentiated.
        classifier_weight: (C, A) or (C, A, 1, 1), the student's last layer. Gradient flows into it through
            the variances; detach it if that is not wanted.
        covariance: (C, A) diagonal or (C, A, A) full covariance of each class's features. Never differentiated.
        strength: lambda >= 0, the scale of the perturbations; 0 gives `pixel_kd`.
        temperature: tau > 0.
        bound: "paper" or "tight".

    Returns:
        A scalar in nats, at least `pixel_kd`. float32 (float64 for float64 input), also under autocast.

    Raises:
        ValueError: shapes, types, label values, strength, temperature or bound are not as above.

    Normaliser: the mean over the B * h * w pixels, as `pixel_kd`.

    Memory: O(B C h w + C^2), the inner sums are matrix products; no (pixels, C, C) tensor.

    Source: FAKD Eq. 8.

    Example:
        >>> import torch
        >>> z, q = torch.randn(2, 3, 4, 4), torch.randn(2, 3, 4, 4)
        >>> labels, weight, covariance = torch.zeros(2, 4, 4, dtype=torch.long), torch.randn(3, 8), torch.ones(3, 8)
        >>> bool(augmented_pixel_kd(z, q, labels, weight, covariance, strength=1.0) > pixel_kd(z, q))
        True
    """
    check_logits(student_logits, teacher_logits, temperature)
    weight = check_augmentation(student_logits, labels, classifier_weight, covariance, strength, bound)
    if strength == 0:
        return pixel_kd(student_logits, teacher_logits, temperature=temperature)
    with no_autocast(student_logits):
        scores = _pixels(full_precision(student_logits)) / temperature
        log_p = (_pixels(full_precision(teacher_logits.detach())) / temperature).log_softmax(1)
        weight, covariance = weight.to(scores.dtype), covariance.to(scores.dtype)
        scale = strength / (2 * temperature**2)
        if bound == "paper":
            total = _divergence(scores, log_p, scale * contrast_variances(weight, covariance))
        else:
            total = _divergence_by_class(scores, log_p, labels.flatten(), weight, covariance, scale)
        return temperature**2 / len(scores) * total


def _pixels(maps: Tensor) -> Tensor:
    """(B, C, h, w) as (B * h * w, C)."""
    return maps.flatten(2).transpose(1, 2).flatten(0, 1)


def _divergence(scores: Tensor, log_p: Tensor, exponents: Tensor) -> Tensor:
    """Sum over pixels (N, C) of sum_c p_c (logsumexp_k(z_k - z_c + exponents[c, k]) + log p_c)."""
    return (log_p.exp() * (logmatmulexp(scores, exponents) - scores + log_p)).sum()


def _divergence_by_class(
    scores: Tensor, log_p: Tensor, labels: Tensor, weight: Tensor, covariance: Tensor, scale: float
) -> Tensor:
    """The same sum with the table of each pixel's own class: pixels are grouped, one C x C table at a time."""
    classes = len(weight)
    labels = torch.where(labels == IGNORE_INDEX, classes, labels.long())
    sizes = torch.bincount(labels, minlength=classes + 1).tolist()
    groups = torch.split(labels.argsort(), sizes)
    total = scores.new_zeros(())
    for label, pixels in enumerate(groups):
        if len(pixels) == 0:
            continue
        of_class = covariance[label] if label < classes else torch.zeros_like(covariance[0])
        exponents = scale * contrast_variances_of_class(weight, of_class)
        total = total + _divergence(scores[pixels], log_p[pixels], exponents)
    return total
