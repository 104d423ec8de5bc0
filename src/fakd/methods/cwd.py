"""Channel-wise distillation (CWD) of scores, and of features."""

from torch import Tensor

from fakd.functional import channel_kd, resize_logits
from fakd.methods.augmentation import LogitAugmentation
from fakd.methods.fitnet import Projector
from fakd.methods.method import Method
from fakd.methods.options import check_numbers, check_positive
from fakd.types import ScoringModel, SegmentationModel, SegmentationOutput


class ChannelKD(Method):
    """Match the teacher's distribution over positions for every class.

    Args:
        student: the network that learns.
        teacher: the frozen network.
        max_steps: length of the run in optimizer steps.
        weight: alpha, the term's share in the whole loss; 3 on logits in the authors' code.
        temperature: tau, divides both logits before the softmax; 4 in the paper
            and the code.
        augment_logits: lambda, the strength at which the student's logits are moved as in `FAKD` before the loss
            looks at them, see `LogitAugmentation`; 0 leaves them as they are.

    Teacher logits of another stride are resized to the student's, bilinearly.

    Source: Shu et al. 2021; FAKD Eq. 2. The authors' other variant, on features with weight 50, is not this one.
    """

    needs = "logits"

    def __init__(
        self,
        student: SegmentationModel,
        teacher: SegmentationModel | ScoringModel,
        *,
        max_steps: int,
        weight: float = 3.0,
        temperature: float = 4.0,
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
        """One term, `cwd`."""
        teacher_logits = resize_logits(teacher_output.logits, student_output.logits.shape[-2:])
        logits = self.augmentation(student_output, teacher_logits, labels, step)
        loss = channel_kd(logits, teacher_logits, temperature=self.temperature)
        return {"cwd": self.weight * loss}


class FeatureChannelKD(Method):
    """Match the teacher's distribution over positions for every channel of its classifier's input.

    Args:
        student: the network that learns; a projector takes its features to the teacher's channels.
        teacher: the frozen network.
        max_steps: length of the run in optimizer steps.
        weight: the term's share in the whole loss; 50 on features in the authors' code, with the mean over the
            B * A' maps that `channel_kd` takes too.
        temperature: tau, divides both maps before the softmax; 4.

    Teacher features of another stride are resized to the student's, bilinearly.

    Fidelity: the projector is the authors' (1x1 convolution without bias, batch normalisation, ReLU), and is there
    where the channels agree, too. Their features have passed the dropout before the classifier; these have not.

    Source: Shu et al., ICCV 2021, on feature maps.
    """

    def __init__(
        self,
        student: SegmentationModel,
        teacher: SegmentationModel,
        *,
        max_steps: int,
        weight: float = 50.0,
        temperature: float = 4.0,
    ) -> None:
        super().__init__(student, teacher, max_steps=max_steps)
        check_numbers(weight=weight)
        check_positive(temperature=temperature)
        self.weight, self.temperature = weight, temperature
        self.projector = Projector(student, teacher, rectify=True)

    @property
    def notes(self) -> tuple[str, ...]:
        """The projector."""
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
        """One term, `cwd-features`."""
        projected = self.projector(student_output.features)
        teacher_features = resize_logits(teacher_output.features, projected.shape[-2:])
        loss = channel_kd(projected, teacher_features, temperature=self.temperature)
        return {"cwd-features": self.weight * loss}
