"""FAKD: distillation under Gaussian perturbations of the student's features."""

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from fakd.functional.cwd import channel_kd
from fakd.functional.inputs import (
    Bound,
    Reference,
    check_augmentation,
    check_choice,
    check_logits,
    check_perturbation,
    finite,
    full_precision,
    log_shares,
    no_autocast,
    pixel_classes,
    uncompiled,
)
from fakd.functional.pixel import pixel_kd
from fakd.functional.variance import contrast_variances, contrast_variances_of_classes, logit_variances

CHUNK = 2**22
"""How many exponents of Eq. 8, pixels x classes x classes, are held at once."""


def logit_offsets(
    labels: Tensor, weight: Tensor, covariance: Tensor, *, strength: float, reference: Reference = "label"
) -> Tensor:
    """Half the variance of each logit, where the features of a pixel of class y vary as those of its class do.

        reference="none":   lambda/2 *  w_c^T        Sigma_y  w_c            the logit's own variance
        reference="label":  lambda/2 * (w_c - w_y)^T Sigma_y (w_c - w_y)     that of its distance to the pixel's class

    The offsets are constants. A loss on logits, taken at logits moved by them, is FAKD:

        channel_kd(z + offsets, q)   with "none" has the gradient of Theorem 1's bound as printed, at any temperature
        pixel_kd(z + offsets, q)     with "label", at temperature 1, plus the teacher's mean of the offsets, is at least
                                     the expectation of pixel_kd over the perturbed features

    Args:
        labels: (B, h, w) integers 0..C-1; at 255 the features are not perturbed.
        weight: (C, A) or (C, A, 1, 1), of the student's last layer; no gradient flows into it.
        covariance: (C, A) diagonal or (C, A, A) full covariance of each class's features; no gradient flows into it.
        strength: lambda >= 0, the scale of the perturbations.
        reference: "label", or "none", the paper's.

    Returns:
        (B, C, h, w), 0 or more; 0 at ignored pixels, and with "label" at the pixel's own class. float32 (float64 for a
        float64 weight).

    Raises:
        ValueError: shapes, types, devices, strength, reference or, on the CPU, label values are not as above.

    Fidelity: the paper does not say whether the variances train the classifier. Where they do, the student shrinks its
    classifier to make them small, which costs it four points of mIoU on CamVid. The first author's public code for
    feature augmentation in segmentation (arXiv 2208.11499) detaches classifier and covariance, as here.

    Source: FAKD Theorem 1 and Eq. 7 ("none"); Wang et al. 2019 (ISDA), Eq. 8, whose margin "label" is.

    Example: the loss in a training loop of your own
        >>> import torch
        >>> from fakd import ClassCovariance
        >>> from fakd.functional import channel_kd, logit_offsets
        >>> features, labels = torch.randn(2, 8, 4, 4), torch.randint(3, (2, 4, 4))
        >>> classifier, q = torch.nn.Conv2d(8, 3, 1), torch.randn(2, 3, 4, 4)
        >>> covariance = ClassCovariance(num_classes=3, num_channels=8)
        >>> covariance.update(features, labels)
        >>> offsets = logit_offsets(labels, classifier.weight, covariance.covariance, strength=1.0)
        >>> channel_kd(classifier(features) + offsets, q).requires_grad
        True
    """
    weight, covariance = check_perturbation(labels, weight.detach(), covariance.detach(), strength)
    check_choice(Reference, reference=reference)
    with no_autocast(weight):
        variances = (logit_variances if reference == "none" else contrast_variances)(weight, covariance)
    table = F.pad(strength / 2 * variances, (0, 0, 0, 1))  # (y, c), and a row of zeros for pixels of no class
    return table[pixel_classes(labels, len(weight))].movedim(-1, 1)


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

        tau^2/(B C) * sum_{b,c,i} p_ic (log p_ic - log pi_ic)

        bound="paper":  log pi_ic = z_ic/tau - v_ic - logsumexp_k(z_kc/tau + v_kc)
                        v_ic = lambda/(2 tau) * w_c^T Sigma_{y_i} w_c          (Theorem 1 as printed)
        bound="tight":  log pi_ic = z_ic/tau - log( exp(z_ic/tau) + sum_{k!=i} exp(z_kc/tau + v_kc + v_ic) )
                        v_ic = lambda/(2 tau^2) * w_c^T Sigma_{y_i} w_c        (what its derivation gives)

    with p the teacher's distribution over positions. For tau >= 1, tight <= paper; with tau < 1 the printed form bounds
    nothing. It is for the paper's Table 4: what is trained with by default is `channel_kd` at logits moved by
    `logit_offsets`, which has the printed form's gradient where the weight is detached.

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

    Memory: some tensors of the logits' size and a C x C table (C x C x A with a full covariance); nothing of size
    positions x classes x channels.

    Source: FAKD Theorem 1, Eq. 7, with its inner sum over positions and with the signs of the derivation.

    Example:
        >>> import torch
        >>> z, q = torch.randn(2, 3, 4, 4), torch.randn(2, 3, 4, 4)
        >>> labels, weight, covariance = torch.zeros(2, 4, 4, dtype=torch.long), torch.randn(3, 8), torch.ones(3, 8)
        >>> bool(augmented_channel_kd(z, q, labels, weight, covariance, strength=1.0) > channel_kd(z, q))
        True
    """
    check_logits(student_logits, teacher_logits, temperature)
    weight, covariance = check_augmentation(student_logits, labels, classifier_weight, covariance, strength, bound)
    if strength == 0:
        return channel_kd(student_logits, teacher_logits, temperature=temperature)
    scale = strength / (2 * temperature) if bound == "paper" else strength / (2 * temperature**2)
    with no_autocast(student_logits):
        table = F.pad(scale * logit_variances(weight, covariance), (0, 0, 0, 1))
    v = table[pixel_classes(labels.flatten(1), len(weight))].mT  # (B, C, M)
    scores = full_precision(student_logits.flatten(2)) / temperature
    if bound == "paper":
        normaliser = v + (scores + v).logsumexp(-1, keepdim=True)
    else:
        normaliser = torch.logaddexp(scores, v + _logsumexp_of_others(scores + v))
    log_p, log_pi = log_shares(teacher_logits.detach().flatten(2), temperature, dim=-1), finite(scores - normaliser)
    return temperature**2 * (log_p.exp() * (log_p - log_pi)).sum(-1).mean()


def _logsumexp_of_others(scores: Tensor) -> Tensor:
    """logsumexp_{k != i}, for every i of the last axis.

    The sum of all less one of them, but for the largest: where that is nearly all, the rest would be lost to rounding.
    """
    largest = F.one_hot(scores.argmax(-1), scores.shape[-1]).bool()
    share = scores.log_softmax(-1).masked_fill(largest, -1)  # at most log(1/2)
    rest = scores.masked_fill(largest, torch.finfo(scores.dtype).min).logsumexp(-1, keepdim=True)
    return torch.where(largest, rest, scores.logsumexp(-1, keepdim=True) + torch.log1p(-share.exp()))


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

        tau^2/(B M) * sum_{b,i,c} p_ic { log p_ic + logsumexp_k( (z_ik - z_ic)/tau + lambda/(2 tau^2) D[c, k] ) }

        bound="tight":  D = D_{y_i}, the covariance of the pixel's class; 0 where ignored (what the derivation gives)
        bound="paper":  D = D_c, the covariance of the class c that is summed; labels do not matter (as printed)

    with D_a[c, k] = (w_k - w_c)^T Sigma_a (w_k - w_c) and p the teacher's distribution. It is for the paper's Table 4:
    what is trained with by default is `pixel_kd` at logits moved by `logit_offsets`.

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

    Memory: some tensors of the logits' size, (C, C, C) exponents ("tight") and `CHUNK` of those of all pixels, which
    the way back computes again. Time grows with the square of the classes.

    Source: FAKD Eq. 8.

    Example:
        >>> import torch
        >>> z, q = torch.randn(2, 3, 4, 4), torch.randn(2, 3, 4, 4)
        >>> labels, weight, covariance = torch.zeros(2, 4, 4, dtype=torch.long), torch.randn(3, 8), torch.ones(3, 8)
        >>> bool(augmented_pixel_kd(z, q, labels, weight, covariance, strength=1.0) > pixel_kd(z, q))
        True
    """
    check_logits(student_logits, teacher_logits, temperature)
    weight, covariance = check_augmentation(student_logits, labels, classifier_weight, covariance, strength, bound)
    if strength == 0:
        return pixel_kd(student_logits, teacher_logits, temperature=temperature)
    scale = strength / (2 * temperature**2)
    with no_autocast(student_logits):
        if bound == "paper":
            exponents = scale * contrast_variances(weight, covariance)  # (c, k)
        else:
            exponents = scale * contrast_variances_of_classes(weight, covariance)
            exponents = F.pad(exponents, (0, 0, 0, 0, 0, 1))  # (y, c, k), and zeros for pixels of no class
    scores = full_precision(student_logits.movedim(1, -1).flatten(0, -2)) / temperature  # (pixels, C)
    log_p = log_shares(teacher_logits.detach().movedim(1, -1).flatten(0, -2), temperature, dim=-1)
    classes = pixel_classes(labels.flatten(), len(weight))
    return temperature**2 / len(scores) * _sum_of_chunks(scores, log_p, classes, exponents)


@uncompiled
def _sum_of_chunks(scores: Tensor, log_p: Tensor, classes: Tensor, exponents: Tensor) -> Tensor:
    """sum_{i,c} p_ic (log p_ic + logsumexp_k(z_ik - z_ic + T[c, k])), T = exponents, or those of each pixel's class."""

    def of_chunk(z: Tensor, log_p: Tensor, classes: Tensor, exponents: Tensor) -> Tensor:
        table = exponents if exponents.ndim == 2 else exponents[classes]
        log_pi = finite(z - (z.unsqueeze(1) + table).logsumexp(2))
        return (log_p.exp() * (log_p - log_pi)).sum()

    pixels = max(1, CHUNK // scores.shape[1] ** 2)
    chunks = zip(*(torch.split(tensor, pixels) for tensor in (scores, log_p, classes)), strict=True)
    total = scores.new_zeros(())
    for chunk in chunks:
        total = total + checkpoint(of_chunk, *chunk, exponents, use_reentrant=False, preserve_rng_state=False)
    return total
