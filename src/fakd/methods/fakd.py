"""FAKD: channel-wise distillation at infinitely many perturbations of the features."""

from torch import Tensor

from fakd.functional import augmented_channel_kd
from fakd.functional.inputs import Bound
from fakd.methods.augmented import AugmentedKD, CovarianceForm, ScheduleName
from fakd.types import SegmentationModel


class FAKD(AugmentedKD):
    """Match where the teacher sees each class, at every Gaussian perturbation of the student's features.

    Args:
        student: the network that learns; its classifier's weight turns covariances of features into variances
            of logits.
        teacher: the frozen network.
        max_steps: T, length of the run in optimizer steps, over which the strength grows.
        weight: alpha, the term's share in the whole loss; 3, as CWD.
        temperature: tau, divides both logits before the softmax; 4, as CWD.
        strength: lambda at the end of the ramp, the scale of the perturbations; 1.0 in the paper.
        bound: "paper" as printed, or "tight", the smaller bound that its derivation gives.
        covariance: "diagonal" (C x A numbers) or "full" (C x A x A).
        window: the most pixels a class remembers; None, the paper's, never forgets.
        schedule: how lambda grows: "cosine" (the paper's), "linear" or "constant".
        detach_classifier: keep the variances from training the classifier's weight.

    Fidelity: the authors released no code; where the paper is silent or misprints, this follows its
    derivation. The covariance is diagonal as in ISDA's segmentation code, which the paper cites.

    Source: FAKD, Eq. 7 (Theorem 1).

    Example:
        >>> import torch
        >>> from fakd import FAKD, SegmentationOutput, create_model
        >>> student = create_model("pspnet/test_resnet.r160_in1k", num_classes=5, channels=8)
        >>> distil = FAKD(student, student, max_steps=100)
        >>> images, labels = torch.rand(2, 3, 32, 32), torch.randint(5, (2, 32, 32))
        >>> output = student(images)
        >>> list(distil(output, output, labels, step=0))
        ['fakd']
    """

    term = "fakd"

    def __init__(
        self,
        student: SegmentationModel,
        teacher: SegmentationModel,
        *,
        max_steps: int,
        weight: float = 3.0,
        temperature: float = 4.0,
        strength: float = 1.0,
        bound: Bound = "paper",
        covariance: CovarianceForm = "diagonal",
        window: int | None = None,
        schedule: ScheduleName = "cosine",
        detach_classifier: bool = False,
    ) -> None:
        super().__init__(
            student,
            teacher,
            max_steps=max_steps,
            weight=weight,
            temperature=temperature,
            strength=strength,
            bound=bound,
            covariance=covariance,
            window=window,
            schedule=schedule,
            detach_classifier=detach_classifier,
        )

    def loss(
        self, student_logits: Tensor, teacher_logits: Tensor, labels: Tensor, weight: Tensor, strength: float
    ) -> Tensor:
        """`augmented_channel_kd` at this strength."""
        return augmented_channel_kd(
            student_logits,
            teacher_logits,
            labels,
            weight,
            self.covariance.covariance,
            strength=strength,
            temperature=self.temperature,
            bound=self.bound,
        )
