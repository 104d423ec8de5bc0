"""Pixel-wise distillation (PD): the class distribution at every pixel."""

from torch import Tensor

from fakd.functional.inputs import check_logits, log_shares


def pixel_kd(student_logits: Tensor, teacher_logits: Tensor, *, temperature: float = 1.0) -> Tensor:
    """Pull the student's class distribution at every pixel toward the teacher's.

        tau^2 / (B M) * sum_{b,i} KL( softmax_c(q_i / tau) || softmax_c(z_i / tau) )

    Args:
        student_logits: (B, C, h, w) raw scores z.
        teacher_logits: (B, C, h, w) raw scores q; no gradient flows into them.
        temperature: tau > 0, divides both logits before the softmax.

    Returns:
        A scalar >= 0 in nats up to rounding, 0 when both agree up to a constant per pixel. float32 (float64 for
        float64 input), also under autocast.

    Raises:
        ValueError: the shapes differ or the temperature is not above 0.

    Normaliser: the mean over the B * h * w pixels, ignored ones included. SKDS's code divides by
    h * w alone, so its weight 10 with batch 8 is a weight 80 here.

    Source: FAKD Eq. 1 (PD), as a KL divergence: the printed cross-entropy less the teacher's entropy.

    Example:
        >>> import torch
        >>> logits = torch.randn(2, 5, 8, 8)
        >>> pixel_kd(logits, logits).item()
        0.0
    """
    check_logits(student_logits, teacher_logits, temperature)
    log_p = log_shares(teacher_logits.detach(), temperature, dim=1)
    log_pi = log_shares(student_logits, temperature, dim=1)
    return temperature**2 * (log_p.exp() * (log_p - log_pi)).sum(1).mean()
