"""Channel-wise distillation (CWD): where in the image each class is seen."""

from torch import Tensor

from fakd.functional.inputs import check_logits, log_shares


def channel_kd(student_logits: Tensor, teacher_logits: Tensor, *, temperature: float = 4.0) -> Tensor:
    """Pull where the student sees each class toward where the teacher sees it.

        tau^2 / (B C) * sum_{b,c} KL( softmax_i(q_c / tau) || softmax_i(z_c / tau) )

    Each class's score map is a distribution over positions i.

    Args:
        student_logits: (B, C, h, w) raw scores z.
        teacher_logits: (B, C, h, w) raw scores q; no gradient flows into them.
        temperature: tau > 0, divides both logits before the softmax.

    Returns:
        A scalar >= 0 in nats up to rounding, 0 when both agree up to a constant per class. float32 (float64 for
        float64 input), also under autocast.

    Raises:
        ValueError: the shapes differ or the temperature is not above 0.

    Normaliser: the mean over the B * C maps, as in the authors' code (weight 3 there is 3 here).

    Source: Shu et al. 2021 (CWD), Eq. 3-4; FAKD Eq. 2, as a KL divergence.

    Example:
        >>> import torch
        >>> logits = torch.randn(2, 5, 8, 8)
        >>> abs(channel_kd(logits, logits + 3.0).item()) < 1e-4
        True
    """
    check_logits(student_logits, teacher_logits, temperature)
    log_p = log_shares(teacher_logits.detach().flatten(2), temperature, dim=-1)
    log_pi = log_shares(student_logits.flatten(2), temperature, dim=-1)
    return temperature**2 * (log_p.exp() * (log_p - log_pi)).sum(-1).mean()
