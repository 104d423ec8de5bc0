"""Where a network's features are strong (attention transfer)."""

import torch.nn.functional as F
from torch import Tensor

from fakd.functional.inputs import check_features, full_precision


def attention_kd(student_features: Tensor, teacher_features: Tensor) -> Tensor:
    """Pull where the student's features are strong toward where the teacher's are.

        1 / B * sum_{b,i} ( a^s_bi - a^t_bi )^2,    a_bi = e_bi / sqrt(sum_k e_bk^2),    e_bi = sum_c f_bci^2

    Args:
        student_features: (B, A, h, w), f of the student; M = h * w.
        teacher_features: (B, A', h, w), f of the teacher; A' may differ from A. No gradient flows into them.

    Returns:
        A scalar in [0, 2], 0 when both maps agree up to a factor per image. float32 (float64 for float64 input),
        also under autocast.

    Raises:
        ValueError: the shapes differ in more than the channels, or a map is empty.

    Normaliser: the mean over images of the squared distance of maps of length 1, so that a weight means the same for
    every size of map. The authors' code and CIRKD's take the mean over positions too: weight 1e4 there, with maps of
    64x64, is 1e4 / 64^2 = 2.44 here. The paper prints the norm of the difference, not squared, with weight beta / 2.

    Memory: O(B A h w).

    Source: Zagoruyko & Komodakis, ICLR 2017 (AT), activation-based transfer with F_sum^2.

    Example:
        >>> import torch
        >>> features = torch.rand(2, 8, 4, 4)
        >>> attention_kd(features, 3 * features).item() < 1e-12
        True
    """
    check_features(student_features, teacher_features)
    return (_attention(student_features) - _attention(teacher_features.detach())).square().sum(1).mean()


def _attention(features: Tensor) -> Tensor:
    """(B, M) maps of length 1."""
    return F.normalize(full_precision(features).square().sum(1).flatten(1), dim=1)
