"""A distillation method of one's own: the student's features point where the teacher's do."""

import torch.nn.functional as F
from torch import Tensor

from fakd.functional import resize_logits
from fakd.methods import Method, Projector
from fakd.types import SegmentationModel, SegmentationOutput


class FeatureCosine(Method):
    """Turn the student's features at every pixel toward the teacher's: weight * mean(1 - cosine)."""

    def __init__(
        self, student: SegmentationModel, teacher: SegmentationModel, *, max_steps: int, weight: float = 1.0
    ) -> None:
        super().__init__(student, teacher, max_steps=max_steps)
        self.weight = weight
        self.projector = Projector(student, teacher, rectify=False)  # to the teacher's number of channels

    def forward(
        self,
        student_output: SegmentationOutput,
        teacher_output: SegmentationOutput,
        labels: Tensor,
        step: int,
        *,
        images: Tensor | None = None,
    ) -> dict[str, Tensor]:
        features = self.projector(student_output.features).float()
        taught = resize_logits(teacher_output.features, features.shape[-2:]).float()
        cosine = F.cosine_similarity(features, taught, dim=1, eps=1e-4)
        return {"feature-cosine": self.weight * (1 - cosine).mean()}
