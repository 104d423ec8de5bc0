"""FAKD over positions: channel-wise distillation under Gaussian perturbations of the features."""

import torch.nn.functional as F
from torch import Tensor

from fakd.functional.channel_blocks import Maps
from fakd.functional.channel_divergence import channel_divergence
from fakd.functional.inputs import Bound, check_augmentation, check_logits, no_autocast, pixel_classes
from fakd.functional.kd import channel_kd
from fakd.functional.variance import logit_variances


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
