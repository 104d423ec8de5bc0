"""FitNet: the teacher's features, regressed from the student's."""

from torch import Tensor, nn

from fakd.functional import resize_logits
from fakd.functional.fitnet import hint_kd
from fakd.functional.inputs import full_precision
from fakd.methods.method import Method
from fakd.methods.options import check_numbers
from fakd.types import SegmentationModel, SegmentationOutput


class Projector(nn.Sequential):
    """A 1x1 convolution from the student's feature channels to the teacher's, trained with the student.

    It belongs to the method: it is in the run's checkpoints, not in the student's file.

    Args:
        student: its classifier's input is what is projected.
        teacher: its classifier's input has the channels projected to.
        rectify: follow the convolution by batch normalisation and ReLU.
    """

    def __init__(self, student: SegmentationModel, teacher: SegmentationModel, *, rectify: bool) -> None:
        ours, theirs = student.classifier.in_channels, teacher.classifier.in_channels
        convolution = nn.Conv2d(ours, theirs, kernel_size=1, bias=False)
        super().__init__(convolution, *((nn.BatchNorm2d(theirs), nn.ReLU()) if rectify else ()))
        layers = "1x1 convolution, batch normalisation and ReLU" if rectify else "1x1 convolution"
        self.note = f"A projector ({layers}) takes the student's {ours} feature channels to the teacher's {theirs}."
        """What it does, as a sentence for the log."""

    def forward(self, features: Tensor) -> Tensor:
        """Project (B, A, h, w) to (B, A', h, w); under autocast in its type."""
        projected: Tensor = super().forward(full_precision(features))  # type: ignore[no-untyped-call]
        return projected


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
        check_numbers(weight=weight)
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
