"""FAKD: distillation under Gaussian perturbations of the features, over positions and over classes."""

import torch
import torch.nn.functional as F
from torch import Tensor

from fakd.functional.cwd import channel_kd
from fakd.functional.inputs import Bound, check_augmentation, check_logits, no_autocast, pixel_classes
from fakd.functional.kernels import Maps, channel_divergence, pixel_divergence, pixel_divergence_by_class
from fakd.functional.pixel import pixel_kd
from fakd.functional.variance import contrast_variances, logit_variances


def augmented_channel_kd(
    student_logits: Tensor,
    teacher_logits: Tensor,
    labels: Tensor,
    classifier_weight: Tensor,
    covariance: Tensor,
    *,
    strength: float,
    temperature: float = 4.0,
    bound: Bound = "paper",
) -> Tensor:
    """Pull the student's class maps toward the teacher's at every Gaussian perturbation of its features.

    The features of position i are s^_i ~ N(s_i, lambda * Sigma_{y_i}), independent between positions. The
    expectation of `channel_kd` over them is at most

        bound="paper":  tau^2/(B C) * sum_{b,c} { logsumexp_k(z_kc/tau + v_kc) - sum_i p_ic (z_ic/tau - v_ic) - H(p_c) }
                        v_ic = lambda/(2 tau) * w_c^T Sigma_{y_i} w_c                     (Theorem 1 as printed)
        bound="tight":  tau^2/(B C) * sum_{b,c,i} p_ic { softplus(v_ic + logsumexp_{k!=i}(z_kc/tau + v_kc) - z_ic/tau)
                        + log p_ic },  v_ic = lambda/(2 tau^2) * w_c^T Sigma_{y_i} w_c    (what its derivation gives)

    with p the teacher's distribution over positions and H its entropy. For tau >= 1, tight <= paper; with
    tau < 1 the printed form bounds nothing.

    Args:
        student_logits: (B, C, h, w) raw scores z of the unperturbed features.
        teacher_logits: (B, C, h, w) raw scores q; no gradient flows into them.
        labels: (B, h, w) integers 0..C-1; at 255 the features are not perturbed. Never differentiated.
        classifier_weight: (C, A) or (C, A, 1, 1), the student's last layer. Gradient flows into it through
            the variances; detach it if that is not wanted.
        covariance: (C, A) diagonal or (C, A, A) full covariance of each class's features. Never differentiated.
        strength: lambda >= 0, the scale of the perturbations; 0 gives `channel_kd`.
        temperature: tau > 0.
        bound: "paper" or "tight".

    Returns:
        A scalar in nats, at least `channel_kd` for tau >= 1. float32 (float64 for float64 input), also under autocast.

    Raises:
        ValueError: shapes, types, devices, strength, temperature, bound or, on the CPU, label values are not as above.
            Elsewhere features at a label that is no class are not perturbed.

    Normaliser: the mean over the B * C maps, as `channel_kd`.

    Memory: the gradients, one C x C table (C x C x A with a full covariance) and a few MiB, computed in blocks of maps;
    nothing of size positions x classes x channels.

    Source: FAKD Theorem 1, Eq. 7, with its inner sum over positions and with the signs of the derivation.

    Example:
        >>> import torch
        >>> z, q = torch.randn(2, 3, 4, 4), torch.randn(2, 3, 4, 4)
        >>> labels, weight, covariance = torch.zeros(2, 4, 4, dtype=torch.long), torch.randn(3, 8), torch.ones(3, 8)
        >>> bool(augmented_channel_kd(z, q, labels, weight, covariance, strength=1.0) > channel_kd(z, q))
        True
    """
    check_logits(student_logits, teacher_logits, temperature)
    weight = check_augmentation(student_logits, labels, classifier_weight, covariance, strength, bound)
    if strength == 0:
        return channel_kd(student_logits, teacher_logits, temperature=temperature)
    maps = Maps(student_logits, teacher_logits, temperature)
    scale = strength / (2 * temperature) if bound == "paper" else strength / (2 * temperature**2)
    weight, covariance = weight.to(maps.dtype), covariance.to(maps.dtype)
    with no_autocast(student_logits):
        table = scale * logit_variances(weight, covariance)
    classes = student_logits.shape[1]
    return channel_divergence(
        maps._replace(
            labels=pixel_classes(labels.flatten(1), classes),
            table=F.pad(table.T, (0, 1)),  # of zeros, for positions of no class
        ),
        tight=bound == "tight",
    )


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
        ValueError: shapes, types, devices, strength, temperature, bound or, on the CPU, label values are not as above.
            Elsewhere features at a label that is no class are not perturbed.

    Normaliser: the mean over the B * h * w pixels, as `pixel_kd`.

    Memory: O(B C h w + C^2), and C^2 A more with a full covariance, one gradient kept for the backward pass; the inner
    sums are matrix products over tiles of pixels, no (pixels, C, C) tensor. It can be differentiated once.

    Away from the CPU, looking at the table would make the host wait. There an exponent more than 80 below the
    largest of its row counts as 80 below, which can be seen where the logits of a pixel span more than 55 tau.

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
    precision = torch.promote_types(torch.promote_types(student_logits.dtype, teacher_logits.dtype), torch.float32)
    weight, covariance = weight.to(precision), covariance.to(precision)
    scale = strength / (2 * temperature**2)
    total: Tensor
    with no_autocast(student_logits):
        if bound == "paper":
            exponents = scale * contrast_variances(weight, covariance)
            total = pixel_divergence(student_logits, teacher_logits, exponents, temperature=temperature)
        else:
            total = pixel_divergence_by_class(
                student_logits, teacher_logits, labels, weight, covariance, scale=scale, temperature=temperature
            )
    return temperature**2 / labels.numel() * total
