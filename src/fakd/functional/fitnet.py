"""The teacher's features as they are (FitNets)."""

from torch import Tensor

from fakd.functional.inputs import full_precision


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
    if student_features.ndim != 4 or student_features.shape != teacher_features.shape:
        raise ValueError(
            "student_features and teacher_features must have one shape (B, A, h, w), got "
            f"{tuple(student_features.shape)} and {tuple(teacher_features.shape)}. Resize the teacher's with "
            "fakd.functional.resize_logits(teacher_features, student_features.shape[-2:]), and bring the student's to "
            "its channels with a 1x1 convolution."
        )
    if student_features.numel() == 0:
        raise ValueError(f"the features are empty: {tuple(student_features.shape)}.")
    return (full_precision(student_features) - full_precision(teacher_features.detach())).square().mean()
