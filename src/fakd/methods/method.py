"""What every distillation method is."""

import math
from abc import ABC, abstractmethod
from typing import ClassVar

from torch import Tensor, nn

from fakd.types import SegmentationModel, SegmentationOutput


def check_number(option: str, value: float, *, zero: bool = True) -> None:
    """Raise ValueError unless an option's value is a finite number, at least 0, or above it where 0 is no choice."""
    number = isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
    if not number or value < 0 or (value == 0 and not zero):
        raise ValueError(f"{option} must be a number{', 0 or more' if zero else ' above 0'}, got {value!r}.")


class Method(nn.Module, ABC):
    """Turns the outputs of student and teacher on one batch into named, weighted loss terms.

    What a method learns or remembers (projectors, covariances, memory banks) is in its own state_dict;
    the networks are not.

    Args:
        student: the network that learns; a method may read its `classifier`.
        teacher: the frozen network, or None for a method that needs none.
        max_steps: T, the length of the run in optimizer steps, for what grows or fades over it.

    Raises:
        ValueError: student and teacher do not score the same number of classes.
    """

    needs_teacher: ClassVar[bool] = True

    def __init__(self, student: SegmentationModel, teacher: SegmentationModel | None, *, max_steps: int) -> None:
        super().__init__()
        if max_steps < 1:
            raise ValueError(f"max_steps must be 1 or more, got {max_steps}.")
        if self.needs_teacher:
            if teacher is None:
                raise ValueError(f"{type(self).__name__} needs a teacher, got None.")
            ours, theirs = student.classifier.out_channels, teacher.classifier.out_channels
            if ours != theirs:
                raise ValueError(
                    f"student and teacher must score the same classes: the student has {ours}, the teacher {theirs}."
                )
        self.max_steps = max_steps

    @property
    def notes(self) -> tuple[str, ...]:
        """What a user should know of how this method joins these two networks, as sentences for the log."""
        return ()

    @property
    def watched(self) -> dict[str, Tensor]:
        """Scalars of the last batch for the log that are no part of the loss, such as a discriminator's own."""
        return {}

    @abstractmethod
    def forward(
        self,
        student_output: SegmentationOutput,
        teacher_output: SegmentationOutput,
        labels: Tensor,
        step: int,
        *,
        images: Tensor | None = None,
    ) -> dict[str, Tensor]:
        """The loss terms of one batch.

        Args:
            student_output: with gradient.
            teacher_output: without; of the same images. None where `needs_teacher` is False.
            labels: (B, H, W) integers at the images' size, 255 = ignore.
            step: optimizer steps done so far, 0 at the first batch.
            images: (B, 3, H, W) RGB in [0, 1] that both networks saw; only some methods look at them.

        Returns:
            Scalars by name, already weighted; their sum is the method's loss.
        """
