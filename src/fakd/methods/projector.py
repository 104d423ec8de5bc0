"""What brings the student's features to the teacher's number of channels."""

from torch import Tensor, nn

from fakd.functional.inputs import full_precision
from fakd.types import SegmentationModel


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
        maps = full_precision(features)
        for layer in self:
            maps = layer(maps)
        return maps
