"""No distillation: the student learns from the labels alone."""

from torch import Tensor

from fakd.methods.method import Method
from fakd.types import SegmentationOutput


class NoDistillation(Method):
    """The baseline of every comparison; the teacher is not run."""

    needs = "nothing"

    def forward(
        self,
        student_output: SegmentationOutput,
        teacher_output: SegmentationOutput | None,
        labels: Tensor,
        step: int,
        *,
        images: Tensor | None = None,
    ) -> dict[str, Tensor]:
        """No term."""
        return {}
