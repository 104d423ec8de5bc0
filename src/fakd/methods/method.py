"""What every distillation method is."""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import ClassVar, Literal

from torch import Tensor, nn

from fakd.methods.augmentation import LogitAugmentation
from fakd.types import ScoringModel, SegmentationModel, SegmentationOutput, scores_alone

Needs = Literal["nothing", "logits", "features"]


class Method(nn.Module, ABC):
    """Turns the outputs of student and teacher on one batch into named, weighted loss terms.

    What a method learns or remembers (projectors, covariances, memory banks) is in its own state_dict;
    the networks are not.

    Args:
        student: the network that learns; a method may read its `classifier`.
        teacher: the frozen network, or None for a method that needs none.
        max_steps: T, the length of the run in optimizer steps, for what grows or fades over it.

    Raises:
        ValueError: student and teacher do not score the same number of classes, or the method needs features and the
            teacher only scores.
    """

    needs: ClassVar[Needs] = "features"
    """What it asks of a teacher: "nothing"; "logits", its scores alone, which may then be kept from run to run or come
    from a network that has nothing else; or "features" (its stages included), for which the network must run."""
    confidence: float = 0.0
    """The least probability at which the teacher's class is the label of a pixel that nobody labelled."""

    def __init__(
        self, student: SegmentationModel, teacher: SegmentationModel | ScoringModel | None, *, max_steps: int
    ) -> None:
        super().__init__()
        if max_steps < 1:
            raise ValueError(f"max_steps must be 1 or more, got {max_steps}.")
        if self.needs_teacher:
            if teacher is None:
                raise ValueError(f"{type(self).__name__} needs a teacher, got None.")
            if self.needs == "features" and scores_alone(teacher):
                raise ValueError(
                    f"{type(self).__name__} learns from a teacher's features, and this {type(teacher).__name__} gives "
                    "scores alone: choose a method that needs no more, as cwd, pixel or fakd."
                )
            ours, theirs = student.classifier.out_channels, _classes(teacher)
            if ours != theirs:
                raise ValueError(
                    f"student and teacher must score the same classes: the student has {ours}, the teacher {theirs}."
                )
        self.max_steps = max_steps
        self.augmentation: LogitAugmentation | None = None
        """What moves the student's logits, in a method that can."""

    @property
    def needs_teacher(self) -> bool:
        """Whether there is anything it asks of a teacher."""
        return self.needs != "nothing"

    @property
    def notes(self) -> tuple[str, ...]:
        """What a user should know of how this method joins these two networks, as sentences for the log."""
        return ()

    @property
    def watched(self) -> dict[str, Tensor]:
        """Scalars of the last batch for the log that are no part of the loss, such as a discriminator's own."""
        return {} if self.augmentation is None else self.augmentation.watched

    def remark(self, watched: Mapping[str, float]) -> str | None:
        """Return what a user should hear of such values of `watched`, as a sentence that is said once; or None."""
        return None if self.augmentation is None else self.augmentation.remark(watched)

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


def _classes(teacher: SegmentationModel | ScoringModel) -> int:
    classes: int = teacher.classifier.out_channels if hasattr(teacher, "classifier") else teacher.num_classes
    return classes
