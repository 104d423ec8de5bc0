"""Attention transfer (AT): where the features are strong."""

from typing import Literal

from torch import Tensor

from fakd.functional import resize_logits
from fakd.functional.at import attention_kd
from fakd.functional.inputs import check_choice
from fakd.methods.method import Method
from fakd.methods.options import check_numbers
from fakd.types import SegmentationModel, SegmentationOutput

Maps = Literal["features", "stages"]


class AttentionTransfer(Method):
    """Match the map of the teacher's feature strength over positions.

    Args:
        student: the network that learns.
        teacher: the frozen network.
        max_steps: length of the run in optimizer steps.
        weight: the term's share in the whole loss; by default that of CIRKD's re-run, whose 1e4 multiplies the mean
            over 64x64 positions of what is a sum here.
        maps: "features", the classifiers' inputs, or "stages", every map of both encoders, whose losses are added.

    Teacher maps of another stride are resized to the student's, bilinearly. Numbers of channels may differ.

    Fidelity: the paper, on classification, adds the losses of several stages; CIRKD's re-run, like "features", takes
    one map.

    Source: Zagoruyko & Komodakis, ICLR 2017.
    """

    def __init__(
        self,
        student: SegmentationModel,
        teacher: SegmentationModel,
        *,
        max_steps: int,
        weight: float = 1e4 / 64**2,
        maps: Maps = "features",
    ) -> None:
        super().__init__(student, teacher, max_steps=max_steps)
        check_numbers(weight=weight)
        check_choice(Maps, maps=maps)
        self.weight, self.maps = weight, maps

    def forward(
        self,
        student_output: SegmentationOutput,
        teacher_output: SegmentationOutput,
        labels: Tensor,
        step: int,
        *,
        images: Tensor | None = None,
    ) -> dict[str, Tensor]:
        """One term, `at`.

        Raises:
            ValueError: `maps` is "stages" and the networks do not show the same number of them.
        """
        pairs = [(student_output.features, teacher_output.features)]
        if self.maps == "stages":
            ours, theirs = student_output.stages, teacher_output.stages
            if len(ours) != len(theirs) or not ours:
                raise ValueError(
                    'maps="stages" needs as many encoder maps of the student as of the teacher, got '
                    f"{len(ours)} and {len(theirs)} (a ClassifierTap shows none)."
                )
            pairs = list(zip(ours, theirs, strict=True))
        losses = [attention_kd(own, resize_logits(taught, own.shape[-2:])) for own, taught in pairs]
        return {"at": self.weight * sum(losses[1:], losses[0])}
