"""Outputs of two small networks of different strides, for the tests of methods."""

import torch
from torch import Tensor

from fakd.methods import Method
from fakd.models import Segmentor, create_model
from fakd.types import SegmentationOutput

CLASSES = 5


def network(stride: int = 8, classes: int = CLASSES) -> Segmentor:
    return create_model("pspnet/test_resnet.r160_in1k", num_classes=classes, channels=8, output_stride=stride)


class Scene:
    """Outputs of a student of stride 8 and a teacher of stride 16 on one batch."""

    def __init__(self) -> None:
        self.student, self.teacher = network(8), network(16).eval()
        self.images = torch.rand(2, 3, 48, 64)
        self.labels = torch.randint(CLASSES, (2, 48, 64)).masked_fill(torch.rand(2, 48, 64) < 0.2, 255)
        self.taught = self.output(2, 3, 4)
        self.output_of_student = self.output(2, 6, 8)
        # what the formulas are given, brought to the student's 6x8 without fakd
        self.resized = torch.nn.functional.interpolate(
            self.taught.logits, size=(6, 8), mode="bilinear", align_corners=False
        )
        self.small_labels = self.labels[:, 4::8, 4::8]

    @staticmethod
    def output(batch: int, height: int, width: int) -> SegmentationOutput:
        return SegmentationOutput(torch.randn(batch, CLASSES, height, width), torch.randn(batch, 8, height, width))

    def terms(self, method: Method, step: int = 0) -> dict[str, Tensor]:
        return method(self.output_of_student, self.taught, self.labels, step, images=self.images)

    def covariance(self) -> Tensor:
        """Diagonal population covariance of every class, in a loop."""
        pixels = self.output_of_student.features.movedim(1, -1)
        classes = [pixels[self.small_labels == c] for c in range(CLASSES)]
        return torch.stack([p.var(0, correction=0) for p in classes])
