"""Pixel-wise distillation (PD): the class distribution at every pixel."""

from torch import Tensor

from fakd.functional import pixel_kd, resize_logits
from fakd.methods.augmentation import LogitAugmentation
from fakd.methods.method import Method
from fakd.methods.options import check_numbers, check_positive
from fakd.types import ScoringModel, SegmentationModel, SegmentationOutput


class PixelKD(Method):
    """Match the teacher's class distribution at every pixel.

    Args:
        student: the network that learns.
        teacher: the frozen network.
        max_steps: length of the run in optimizer steps.
        weight: alpha, the term's share in the whole loss; 1 with the per-pixel mean of
            `pixel_kd` (the paper is silent).
        temperature: tau, divides both logits before the softmax; 1.
        augment_logits: lambda, the strength at which the student's logits are moved as in `FAKDPixel` before the loss
            looks at them, see `LogitAugmentation`; 0 leaves them as they are.

    Teacher logits of another stride are resized to the student's, bilinearly.

    Source: Hinton et al. 2015 per pixel; FAKD Eq. 1.
    """

    needs = "logits"

    def __init__(
        self,
        student: SegmentationModel,
        teacher: SegmentationModel | ScoringModel,
        *,
        max_steps: int,
        weight: float = 1.0,
        temperature: float = 1.0,
        augment_logits: float = 0.0,
    ) -> None:
        super().__init__(student, teacher, max_steps=max_steps)
        check_numbers(weight=weight)
        check_positive(temperature=temperature)
        self.weight, self.temperature = weight, temperature
        self.augmentation: LogitAugmentation = LogitAugmentation(
            student, max_steps=max_steps, strength=augment_logits, name="augment_logits"
        )

    def forward(
        self,
        student_output: SegmentationOutput,
        teacher_output: SegmentationOutput,
        labels: Tensor,
        step: int,
        *,
        images: Tensor | None = None,
    ) -> dict[str, Tensor]:
        """One term, `pixel`."""
        teacher_logits = resize_logits(teacher_output.logits, student_output.logits.shape[-2:])
        logits = self.augmentation(student_output, teacher_logits, labels, step)
        loss = pixel_kd(logits, teacher_logits, temperature=self.temperature)
        return {"pixel": self.weight * loss}
