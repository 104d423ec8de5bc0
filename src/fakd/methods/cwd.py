"""Channel-wise distillation (CWD): where in the image each class is seen."""

from torch import Tensor

from fakd.functional import channel_kd, resize_logits
from fakd.methods.method import Method, check_number
from fakd.types import SegmentationModel, SegmentationOutput


class ChannelKD(Method):
    """Match the teacher's distribution over positions for every class.

    Args:
        student: the network that learns.
        teacher: the frozen network.
        max_steps: length of the run in optimizer steps.
        weight: alpha, the term's share in the whole loss; 3 on logits in the authors' code.
        temperature: tau, divides both logits before the softmax; 4 in the paper
            and the code.

    Teacher logits of another stride are resized to the student's, bilinearly.

    Source: Shu et al. 2021; FAKD Eq. 2. The authors' other variant, on features with weight 50, is not this one.
    """

    def __init__(
        self,
        student: SegmentationModel,
        teacher: SegmentationModel,
        *,
        max_steps: int,
        weight: float = 3.0,
        temperature: float = 4.0,
    ) -> None:
        super().__init__(student, teacher, max_steps=max_steps)
        check_number("weight", weight)
        check_number("temperature", temperature, zero=False)
        self.weight, self.temperature = weight, temperature

    def forward(
        self,
        student_output: SegmentationOutput,
        teacher_output: SegmentationOutput,
        labels: Tensor,
        step: int,
        *,
        images: Tensor | None = None,
    ) -> dict[str, Tensor]:
        """One term, `cwd`."""
        teacher_logits = resize_logits(teacher_output.logits, student_output.logits.shape[-2:])
        loss = channel_kd(student_output.logits, teacher_logits, temperature=self.temperature)
        return {"cwd": self.weight * loss}
