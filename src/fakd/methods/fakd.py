"""FAKD: a plain loss under Gaussian perturbations of the features, channel-wise and pixel-wise."""

from collections.abc import Callable
from typing import ClassVar, Literal, TypedDict, Unpack

from torch import Tensor

from fakd.functional import augmented_channel_kd, augmented_pixel_kd, resize_labels, resize_logits, unfold_features
from fakd.functional.inputs import Bound
from fakd.methods.covariance import ClassCovariance
from fakd.methods.method import Method
from fakd.methods.options import check_choice, check_flags, check_numbers, check_positive
from fakd.methods.schedules import SCHEDULES
from fakd.types import Classifier, SegmentationModel, SegmentationOutput

CovarianceForm = Literal["diagonal", "full"]
ScheduleName = Literal["cosine", "linear", "constant"]


class FAKD(Method):
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

    The covariance of each class's features is updated by every training batch before it is used; in eval mode it stays
    as it is. Where the student's classifier is k x k, the features of a position are all k^2 that the classifier sees
    there, which makes it a 1x1 convolution of A k^2 channels.

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

    needs = "logits"
    term: ClassVar[str] = "fakd"
    """The name of the loss term."""
    augmented_kd: ClassVar[Callable[..., Tensor]] = staticmethod(augmented_channel_kd)
    """The loss."""

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
        super().__init__(student, teacher, max_steps=max_steps)
        check_numbers(weight=weight, strength=strength)
        check_positive(temperature=temperature)
        check_choice(Bound, bound=bound)
        check_choice(CovarianceForm, covariance=covariance)
        check_choice(ScheduleName, schedule=schedule)
        if window is not None and (not isinstance(window, int) or isinstance(window, bool)):
            raise ValueError(f"window must be a whole number of pixels or None, got {window!r}.")
        check_flags(detach_classifier=detach_classifier)
        self.weight, self.temperature, self.bound = weight, temperature, bound
        self.strength, self.schedule = strength, schedule
        self.detach_classifier = detach_classifier
        classes, channels = student.classifier.weight.flatten(1).shape
        self.covariance = ClassCovariance(classes, channels, diagonal=covariance == "diagonal", window=window)
        # Read, not owned: in a tuple the student's parameters stay out of this module's state_dict.
        self._student = (student,)

    def strength_at(self, step: int) -> float:
        """Lambda after `step` optimizer steps."""
        return self.strength * SCHEDULES[self.schedule](step, self.max_steps)

    @property
    def watched(self) -> dict[str, Tensor]:
        """The total variance of a class's features, the mean over the classes seen so far."""
        variances = self.covariance.covariance
        variances = variances if variances.ndim == 2 else variances.diagonal(dim1=1, dim2=2)
        seen = self.covariance.count > 0
        return {"variance": (variances.sum(1) * seen).sum() / seen.sum().clamp(min=1)}

    def forward(
        self,
        student_output: SegmentationOutput,
        teacher_output: SegmentationOutput,
        labels: Tensor,
        step: int,
        *,
        images: Tensor | None = None,
    ) -> dict[str, Tensor]:
        """One term, named as the method."""
        size = student_output.logits.shape[-2:]
        labels = resize_labels(labels, size)
        teacher_logits = resize_logits(teacher_output.logits, size)
        classifier = self._student[0].classifier
        if self.training:
            self.covariance.update(_seen(classifier, student_output.features.detach()), labels)
        weight = classifier.weight.flatten(1)
        if self.detach_classifier:
            weight = weight.detach()
        loss = self.augmented_kd(
            student_output.logits,
            teacher_logits,
            labels,
            weight,
            self.covariance.covariance,
            strength=self.strength_at(step),
            temperature=self.temperature,
            bound=self.bound,
        )
        return {self.term: self.weight * loss}


class Augmentation(TypedDict, total=False):
    """The options that `FAKD` and `FAKDPixel` share; see `FAKD`."""

    strength: float
    bound: Bound
    covariance: CovarianceForm
    window: int | None
    schedule: ScheduleName
    detach_classifier: bool


class FAKDPixel(FAKD):
    """Match the teacher's class distribution at every pixel and every perturbation of the student's features.

    Args:
        student: the network that learns; its classifier's weight turns covariances of features into variances
            of logits.
        teacher: the frozen network.
        max_steps: T, length of the run in optimizer steps, over which the strength grows.
        weight: alpha, the term's share in the whole loss; 1 with the per-pixel mean
            (the paper is silent).
        temperature: tau, divides both logits before the softmax; 1.
        augmentation: strength, bound, covariance, window, schedule and detach_classifier, as `FAKD` has them.

    Source: FAKD, Eq. 8.

    Example:
        >>> import torch
        >>> from fakd import FAKDPixel, SegmentationOutput, create_model
        >>> student = create_model("pspnet/test_resnet.r160_in1k", num_classes=5, channels=8)
        >>> distil = FAKDPixel(student, student, max_steps=100)
        >>> images, labels = torch.rand(2, 3, 32, 32), torch.randint(5, (2, 32, 32))
        >>> output = student(images)
        >>> list(distil(output, output, labels, step=0))
        ['fakd-pixel']
    """

    term = "fakd-pixel"
    augmented_kd = staticmethod(augmented_pixel_kd)

    def __init__(
        self,
        student: SegmentationModel,
        teacher: SegmentationModel,
        *,
        max_steps: int,
        weight: float = 1.0,
        temperature: float = 1.0,
        **augmentation: Unpack[Augmentation],
    ) -> None:
        super().__init__(student, teacher, max_steps=max_steps, weight=weight, temperature=temperature, **augmentation)


def _seen(classifier: Classifier, features: Tensor) -> Tensor:
    """The features as one vector for each position of the logits."""
    if classifier.kernel_size == (1, 1):
        return features
    assert not isinstance(classifier.padding, str)  # no ClassifierTap takes such a one
    return unfold_features(features, classifier.kernel_size, classifier.padding, classifier.dilation)
