"""What every loss does to its inputs first: check them, and leave half precision."""

import math
from collections.abc import Callable
from functools import wraps
from typing import Any, Literal, ParamSpec, TypeVar, get_args

import torch
from torch import Tensor

from fakd.types import IGNORE_INDEX

Bound = Literal["paper", "tight"]
Reference = Literal["none", "label"]
_WEIGHT = "(C, A) or (C, A, 1, 1)"
P = ParamSpec("P")
T = TypeVar("T")


def full_precision(tensor: Tensor) -> Tensor:
    """The tensor in float32, or in float64 where it already is: losses are never computed in half precision."""
    return tensor if tensor.dtype in (torch.float32, torch.float64) else tensor.float()


def log_shares(scores: Tensor, temperature: float, dim: int) -> Tensor:
    """log softmax(scores / tau), in full precision; finite for any finite scores, as 0 * -inf would be NaN."""
    return finite((full_precision(scores) / temperature).log_softmax(dim))


def finite(logarithms: Tensor) -> Tensor:
    """The same, but never below the lowest number that is finite."""
    return logarithms.clamp_min(torch.finfo(logarithms.dtype).min)


def no_autocast(tensor: Tensor) -> torch.autocast:
    """A context in which matrix products of this tensor's device stay in the type of their inputs."""
    return torch.autocast(tensor.device.type, enabled=False)


def uncompiled(function: Callable[P, T]) -> Callable[P, T]:
    """Keep torch.compile out of a function that is laid out by hand, whose loops a trace would unroll.

    As torch.compiler.disable does, which loads the compiler at once: this waits until something is compiled.
    """

    @wraps(function)
    def call(*args: P.args, **kwargs: P.kwargs) -> T:
        if torch.compiler.is_compiling():
            return torch.compiler.disable(function)(*args, **kwargs)  # type: ignore[no-untyped-call,no-any-return]
        return function(*args, **kwargs)

    return call


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
    check_device("teacher_logits", teacher_logits, student_logits)
    if not 0 < temperature < math.inf:
        raise ValueError(f"temperature must be above 0 and finite, got {temperature}.")


def check_features(student_features: Tensor, teacher_features: Tensor, *, same_channels: bool = False) -> None:
    """Raise ValueError unless both are maps of the same images at one size, and of the same channels where asked."""
    ours, theirs = tuple(student_features.shape), tuple(teacher_features.shape)
    alike = ours == theirs if same_channels else (ours[:1], ours[2:]) == (theirs[:1], theirs[2:])
    if len(ours) != 4 or len(theirs) != 4 or not alike:
        raise ValueError(
            "student_features and teacher_features must be (B, A, h, w) with the same B, h and w"
            f"{' and A' if same_channels else ''}, got {ours} and {theirs}. Resize the teacher's with "
            "fakd.functional.resize_logits(teacher_features, student_features.shape[-2:])"
            f"{', and bring the student features to its channels with a 1x1 convolution' if same_channels else ''}."
        )
    for name, maps in (("student_features", student_features), ("teacher_features", teacher_features)):
        if not maps.is_floating_point() or maps.numel() == 0:
            raise ValueError(f"{name} must be numbers, got {maps.dtype} {tuple(maps.shape)}.")
    check_device("teacher_features", teacher_features, student_features, "student_features")


def check_augmentation(
    student_logits: Tensor, labels: Tensor, weight: Tensor, covariance: Tensor, strength: float, bound: str
) -> tuple[Tensor, Tensor]:
    """Raise ValueError unless the arguments of an augmented loss fit together.

    Returns the classifier's weight as (C, A) and the covariance, in the precision of the loss.
    """
    classes = student_logits.shape[1]
    check_labels(labels, student_logits, None, "student_logits")
    check_device("classifier_weight", weight, student_logits)
    check_device("covariance", covariance, student_logits)
    if len(weight) != classes:
        raise ValueError(f"classifier_weight must be {_WEIGHT} with C = {classes}, got {tuple(weight.shape)}.")
    check_choice(Bound, bound=bound)
    weight, covariance = check_perturbation(labels, weight, covariance, strength)
    dtype = torch.promote_types(student_logits.dtype, weight.dtype)
    return weight.to(dtype), covariance.to(dtype)


def check_perturbation(labels: Tensor, weight: Tensor, covariance: Tensor, strength: float) -> tuple[Tensor, Tensor]:
    """Raise ValueError unless these say how features of labelled pixels are perturbed, and what a classifier sees.

    Returns the classifier's weight as (C, A) and the covariance, in full precision.
    """
    if weight.ndim == 4 and weight.shape[2:] == (1, 1):
        weight = weight.flatten(1)
    if weight.ndim != 2:
        raise ValueError(f"the classifier's weight must be {_WEIGHT}, got {tuple(weight.shape)}.")
    classes, channels = weight.shape
    check_device("labels", labels, weight, "the weight")
    check_device("covariance", covariance, weight, "the weight")
    if covariance.shape not in ((classes, channels), (classes, channels, channels)):
        raise ValueError(
            f"covariance must be (C, A) = {(classes, channels)} for a diagonal or "
            f"(C, A, A) = {(classes, channels, channels)} for a full one, got {tuple(covariance.shape)}."
        )
    if not 0 <= strength < math.inf:
        raise ValueError(f"strength must be 0 or more and finite, got {strength}.")
    if labels.ndim != 3 or labels.is_floating_point() or labels.dtype == torch.bool:
        raise ValueError(f"labels must be integers (B, h, w), got {labels.dtype} {tuple(labels.shape)}.")
    if labels.device.type == "cpu":
        check_label_range(labels, classes)
    return full_precision(weight), full_precision(covariance)


def check_choice(choices: Any, **options: str) -> None:
    """Raise ValueError unless each option is one of a `Literal`'s values."""
    for name, value in options.items():
        if value not in get_args(choices):
            raise ValueError(f"{name} must be one of {', '.join(get_args(choices))}, got {value!r}.")


def check_labels(labels: Tensor, maps: Tensor, num_classes: int | None, name: str = "features") -> None:
    """Raise ValueError unless labels are integers (B, h, w) like the maps, which are not empty.

    On the CPU their values are looked at too, where the number of classes is given. Elsewhere that would make the host
    wait for the device: there whoever takes a label out of range passes over the pixel, by `pixel_classes`.
    """
    expected = (len(maps), *maps.shape[2:])
    if maps.ndim != 4 or labels.shape != expected:
        raise ValueError(
            f"{name} must be maps (B, channels, h, w), got {tuple(maps.shape)}, and labels must be (B, h, w) = "
            f"{expected} like them, got {tuple(labels.shape)}. Resize labels with "
            f"fakd.functional.resize_labels(labels, {name}.shape[-2:])."
        )
    if maps.numel() == 0:
        raise ValueError(f"{name} must not be empty, got {tuple(maps.shape)}.")
    if labels.is_floating_point() or labels.dtype == torch.bool:
        raise ValueError(f"labels must be integers, got {labels.dtype}.")
    check_device("labels", labels, maps, name)
    if labels.device.type == "cpu" and num_classes is not None:
        check_label_range(labels, num_classes)


def check_device(name: str, tensor: Tensor, other: Tensor, other_name: str = "student_logits") -> None:
    """Raise ValueError unless both tensors are on one device."""
    if tensor.device != other.device:
        raise ValueError(f"{name} must be on the device of {other_name}, {other.device}, got {tensor.device}.")


def labelled(labels: Tensor, num_classes: int) -> Tensor:
    """Which pixels belong to a class."""
    return (labels >= 0) & (labels < num_classes) & (labels != IGNORE_INDEX)


def pixel_classes(labels: Tensor, num_classes: int) -> Tensor:
    """Each pixel's class as int64, and `num_classes`, one more, where it has none: nothing is selected by a mask."""
    return torch.where(labelled(labels, num_classes), labels.long(), num_classes)


def check_label_range(labels: Tensor, num_classes: int) -> None:
    """Raise ValueError where a label is neither a class index nor the ignore label."""
    wrong = (labels != IGNORE_INDEX) & ((labels < 0) | (labels >= num_classes))
    if bool(wrong.any()):
        found = sorted(set(labels[wrong].tolist()))[:5]
        raise ValueError(
            f"labels hold the values {found}, expected 0 to {num_classes - 1}, or {IGNORE_INDEX} to ignore a pixel."
        )
