"""What every loss does to its inputs first: check them, and leave half precision."""

import math
from typing import Literal, get_args

import torch
from torch import Tensor

from fakd.types import IGNORE_INDEX

Bound = Literal["paper", "tight"]


def full_precision(tensor: Tensor) -> Tensor:
    """The tensor in float32, or in float64 where it already is: losses are never computed in half precision."""
    return tensor if tensor.dtype in (torch.float32, torch.float64) else tensor.float()


def no_autocast(tensor: Tensor) -> torch.autocast:
    """A context in which matrix products of this tensor's device stay in the type of their inputs."""
    return torch.autocast(tensor.device.type, enabled=False)


def check_logits(student_logits: Tensor, teacher_logits: Tensor, temperature: float) -> None:
    """Raise ValueError unless both are (B, C, h, w) of one shape and the temperature is above 0."""
    if student_logits.ndim != 4 or student_logits.shape != teacher_logits.shape:
        raise ValueError(
            "student_logits and teacher_logits must have one shape (B, C, h, w), got "
            f"{tuple(student_logits.shape)} and {tuple(teacher_logits.shape)}. Resize the teacher's with "
            "fakd.functional.resize_logits(teacher_logits, student_logits.shape[-2:])."
        )
    if student_logits.numel() == 0:
        raise ValueError(f"the logits are empty: {tuple(student_logits.shape)}.")
    if not 0 < temperature < math.inf:
        raise ValueError(f"temperature must be above 0 and finite, got {temperature}.")


def check_augmentation(
    student_logits: Tensor,
    labels: Tensor,
    classifier_weight: Tensor,
    covariance: Tensor,
    strength: float,
    bound: str,
) -> Tensor:
    """Raise ValueError unless the arguments of an augmented loss fit together.

    Returns the classifier's weight as (C, A).
    """
    batch, classes, height, width = student_logits.shape
    if labels.shape != (batch, height, width):
        raise ValueError(
            f"labels must be (B, h, w) = {(batch, height, width)} like the logits, got {tuple(labels.shape)}. "
            "Resize them with fakd.functional.resize_labels(labels, student_logits.shape[-2:])."
        )
    if labels.is_floating_point() or labels.dtype == torch.bool:
        raise ValueError(f"labels must be integers, got {labels.dtype}.")
    if labels.device.type == "cpu":  # elsewhere the look would make the host wait for the device
        check_label_range(labels, classes)
    weight = classifier_weight
    if weight.ndim == 4 and weight.shape[2:] == (1, 1):
        weight = weight.flatten(1)
    if weight.ndim != 2 or weight.shape[0] != classes:
        raise ValueError(
            f"classifier_weight must be (C, A) or (C, A, 1, 1) with C = {classes}, "
            f"got {tuple(classifier_weight.shape)}."
        )
    channels = weight.shape[1]
    if covariance.shape not in ((classes, channels), (classes, channels, channels)):
        raise ValueError(
            f"covariance must be (C, A) = {(classes, channels)} for a diagonal or "
            f"(C, A, A) = {(classes, channels, channels)} for a full one, got {tuple(covariance.shape)}."
        )
    if not 0 <= strength < math.inf:
        raise ValueError(f"strength must be 0 or more and finite, got {strength}.")
    if bound not in get_args(Bound):
        raise ValueError(f"bound must be one of {', '.join(get_args(Bound))}, got {bound!r}.")
    return weight


def check_label_range(labels: Tensor, num_classes: int) -> None:
    """Raise ValueError where a label is neither a class index nor the ignore label."""
    wrong = (labels != IGNORE_INDEX) & ((labels < 0) | (labels >= num_classes))
    if bool(wrong.any()):
        found = sorted(set(labels[wrong].tolist()))[:5]
        raise ValueError(
            f"labels hold the values {found}, expected 0 to {num_classes - 1}, or {IGNORE_INDEX} to ignore a pixel."
        )
