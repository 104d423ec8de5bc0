"""FitNet: the teacher's features, regressed from the student's."""

from torch import Tensor

from fakd.functional import resize_logits
from fakd.functional.fitnet import hint_kd
from fakd.methods.method import Method, check_number
from fakd.methods.projector import Projector
from fakd.types import SegmentationModel, SegmentationOutput


class FitNet(Method):
    """Match the teacher's classifier's input, through a 1x1 convolution on the student's.

    Args:
        student: the network that learns.
        teacher: the frozen network.
        max_steps: length of the run in optimizer steps.
        weight: the term's share in the whole loss; 10 with the mean over all elements in CIRKD's re-run.

    Teacher features of another stride are resized to the student's, bilinearly.

    Fidelity: the paper trains the lower half of the network on the hint first, and the whole on other losses after;
    as in CIRKD's re-run, this is one more term from the first step on. The regressor is there where the channels
    agree, too, and has no bias.

    Source: Romero et al., ICLR 2015.
    """

    def __init__(
        self, student: SegmentationModel, teacher: SegmentationModel, *, max_steps: int, weight: float = 10.0
    ) -> None:
        super().__init__(student, teacher, max_steps=max_steps)
        check_number("weight", weight)
        self.weight = weight
        self.projector = Projector(student, teacher, rectify=False)

    @property
    def notes(self) -> tuple[str, ...]:
        """The regressor."""
        return (self.projector.note,)

    def forward(
        self,
        student_output: SegmentationOutput,
        teacher_output: SegmentationOutput,
        labels: Tensor,
        step: int,
        *,
        images: Tensor | None = None,
    ) -> dict[str, Tensor]:
        """One term, `fitnet`."""
        projected = self.projector(student_output.features)
        teacher_features = resize_logits(teacher_output.features, projected.shape[-2:])
        return {"fitnet": self.weight * hint_kd(projected, teacher_features)}
