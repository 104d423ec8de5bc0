"""What two networks say about one image, and how long each takes."""

import statistics
import time
from dataclasses import dataclass

from torch import Tensor

from fakd.data.transforms import EvalTransform
from fakd.evaluation.network import Network
from fakd.evaluation.shares import class_shares

MOST_PASSES = 5
"""Timed passes of a network over an image."""
_TIMING_SECONDS = 2.0  # after which no other is begun


@dataclass(frozen=True)
class Answer:
    """What one network says."""

    labels: Tensor
    """(H, W) uint8, at the image's own size."""
    shares: Tensor
    """(C,) each class's share of the pixels."""
    milliseconds: float
    """Median over the timed passes: the image, already in memory and fitted, to the class of every pixel."""
    passes: int
    """How many those were; the one before them, which is slower, is not among them."""


@dataclass(frozen=True)
class Comparison:
    """An image as the student sees it, and as the teacher does."""

    image: Tensor
    """(3, H, W) uint8 RGB."""
    student: Answer
    teacher: Answer | None = None

    @property
    def agreement(self) -> float | None:
        """Share of the pixels to which both give the same class; None without a teacher."""
        return None if self.teacher is None else agreement(self.student.labels, self.teacher.labels)


def compare(image: Tensor, student: Network, teacher: Network | None = None) -> Comparison:
    """Ask both networks, one after the other.

    Args:
        image: (3, H, W) uint8 RGB.
        student: asked first.
        teacher: of the same classes; None where there is none.
    """
    return Comparison(image, ask(image, student), None if teacher is None else ask(image, teacher))


def ask(image: Tensor, network: Network) -> Answer:
    """Ask one network, and then again until it is clear how long it takes.

    Args:
        image: (3, H, W) uint8 RGB.
        network: on its device.
    """
    fitted = image if network.base_size is None else EvalTransform(network.base_size).fit(image)
    images, size = fitted.unsqueeze(0).to(network.device), image.shape[-2:]
    labels = network.labels(images, size)[0]
    seconds: list[float] = []
    while not seconds or (len(seconds) < MOST_PASSES and sum(seconds) < _TIMING_SECONDS):
        start = time.perf_counter()
        network.labels(images, size)  # on the CPU at the end, so no device is still at work
        seconds.append(time.perf_counter() - start)
    return Answer(labels, class_shares(labels, network.num_classes), statistics.median(seconds) * 1000, len(seconds))


def agreement(student_labels: Tensor, teacher_labels: Tensor) -> float:
    """Compute the share of pixels with the same class in both.

    Args:
        student_labels: (H, W) class indices.
        teacher_labels: (H, W) class indices.

    Returns:
        0 to 1.

    Raises:
        ValueError: the sizes differ.

    Example:
        >>> import torch
        >>> agreement(torch.tensor([[0, 1], [2, 2]]), torch.tensor([[0, 1], [2, 3]]))
        0.75
    """
    if student_labels.shape != teacher_labels.shape:
        raise ValueError(
            f"masks of {tuple(student_labels.shape)} and {tuple(teacher_labels.shape)} pixels, expected one size."
        )
    return (student_labels == teacher_labels).double().mean().item()
