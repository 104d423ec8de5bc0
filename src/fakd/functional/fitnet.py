"""The teacher's features as they are (FitNets)."""

from torch import Tensor

from fakd.functional.inputs import check_features, full_precision


def hint_kd(student_features: Tensor, teacher_features: Tensor) -> Tensor:
    """Pull each of the student's features toward the teacher's.

        1 / (B A M) * sum_{b,c,i} ( r_bci - t_bci )^2

    Args:
        student_features: (B, A, h, w), r: what a regressor makes of the student's features; M = h * w.
        teacher_features: (B, A, h, w), t; no gradient flows into them.

    Returns:
        A scalar >= 0, 0 when both agree. float32 (float64 for float64 input), also under autocast.

    Raises:
        ValueError: the shapes differ, or the features are empty.

    Normaliser: the mean over all elements, as in CIRKD's code (weight 10 there is 10 here). The paper prints half the
    sum over an image's elements.

    Memory: O(B A h w).

    Source: Romero et al., ICLR 2015 (FitNets), hint-based training.

    Example:
        >>> import torch
        >>> features = torch.rand(2, 8, 4, 4)
        >>> hint_kd(features, features + 3).item()
        9.0
    """
    check_features(student_features, teacher_features, same_channels=True)
    return (full_precision(student_features) - full_precision(teacher_features.detach())).square().mean()
