"""FAKD: a plain loss under Gaussian perturbations of the features, channel-wise and pixel-wise."""

from collections.abc import Callable
from typing import ClassVar, TypedDict, Unpack

from torch import Tensor

from fakd.functional import augmented_channel_kd, augmented_pixel_kd, channel_kd, pixel_kd, resize_logits
from fakd.functional.inputs import Bound, Reference, check_choice
from fakd.methods.augmentation import CovarianceForm, LogitAugmentation, ScheduleName
from fakd.methods.method import Method
from fakd.methods.options import check_flags, check_numbers, check_positive
from fakd.types import ScoringModel, SegmentationModel, SegmentationOutput


class FAKD(Method):
    """Match where the teacher sees each class, at every Gaussian perturbation of the student's features.

        weight * channel_kd(z + offsets, q),   offsets = logit_offsets(y, W, Sigma, lambda(t), "label")

    Args:
        student: the network that learns; its classifier's weight turns covariances of features into variances
            of logits.
        teacher: the frozen network.
        max_steps: T, length of the run in optimizer steps, over which the strength grows.
        weight: alpha, the term's share in the whole loss; 3, as CWD.
        temperature: tau, divides both logits before the softmax; 4, as CWD.
        strength: lambda at the end of the ramp, the scale of the perturbations; 1.0 in the paper.
        reference: what a logit's variance is taken against: "label", the logit of the pixel's class, or "none", as in
            the paper; a `bound` has one of its own.
        covariance: "diagonal" (C x A numbers) or "full" (C x A x A), with which variances are several times as large: 1
            is too strong then.
        window: the most pixels a class remembers; None, the paper's, never forgets.
        schedule: how lambda grows: "cosine" (the paper's), "linear" or "constant".
        detach_classifier: take the variances for constants. False lets them train the classifier, as the paper's
            formula does where it is taken literally: the student then makes its weights small, and the term with them,
            and scores far below CWD.
        confidence: of pixels that nobody labelled, the least probability at which the teacher's most likely class is
            taken for theirs; the others are in no covariance, and their logits are not moved.
        bound: compute the paper's bound itself rather than the loss at moved logits, "paper" as printed or "tight", the
            smaller one of its derivation, with a reference of its own. None is "paper" where the variances train the
            classifier; where they do not, its gradient is that of the moved logits, and only the value differs.

    The covariance of each class's features is updated by every training batch before it is used; in eval mode it stays
    as it is. Where the student's classifier is k x k, the features of a position are all k^2 that the classifier sees
    there, which makes it a 1x1 convolution of A k^2 channels.

    Fidelity: the authors released no code; where the paper is silent or misprints, this follows its
    derivation. The covariance is diagonal as in ISDA's segmentation code, which the paper cites. The variances are
    constants as in the first author's public code of the same month, see `logit_offsets`.

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
    plain_kd: ClassVar[Callable[..., Tensor]] = staticmethod(channel_kd)
    """The loss at the moved logits."""
    augmented_kd: ClassVar[Callable[..., Tensor]] = staticmethod(augmented_channel_kd)
    """The paper's bound."""

    def __init__(
        self,
        student: SegmentationModel,
        teacher: SegmentationModel | ScoringModel,
        *,
        max_steps: int,
        weight: float = 3.0,
        temperature: float = 4.0,
        strength: float = 1.0,
        reference: Reference = "label",
        covariance: CovarianceForm = "diagonal",
        window: int | None = None,
        schedule: ScheduleName = "cosine",
        detach_classifier: bool = True,
        confidence: float = 0.0,
        bound: Bound | None = None,
    ) -> None:
        super().__init__(student, teacher, max_steps=max_steps)
        check_numbers(weight=weight)
        check_positive(temperature=temperature)
        check_flags(detach_classifier=detach_classifier)
        check_numbers(confidence=confidence)
        if confidence > 1:
            raise ValueError(f"confidence must be a probability, 0 to 1, got {confidence}.")
        if bound is None and not detach_classifier:
            bound = "paper"
        if bound is not None:
            check_choice(Bound, bound=bound)
            if reference != "label":
                raise ValueError(
                    f"reference {reference!r} is for moved logits, and bound {bound!r} has a reference of its own: "
                    "leave out reference, or else bound and detach_classifier=False."
                )
        self.weight, self.temperature, self.confidence = weight, temperature, confidence
        self.bound, self.detach_classifier = bound, detach_classifier
        self.augmentation: LogitAugmentation = LogitAugmentation(
            student,
            max_steps=max_steps,
            strength=strength,
            reference=reference,
            covariance=covariance,
            window=window,
            schedule=schedule,
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
        """One term, named as the method: the divergence at the moved logits, or the bound."""
        teacher_logits = resize_logits(teacher_output.logits, student_output.logits.shape[-2:])
        if self.bound is None or self.augmentation.covariance is None:
            moved = self.augmentation(student_output, teacher_logits, labels, step)
            loss = self.plain_kd(moved, teacher_logits, temperature=self.temperature)
        else:
            labels = self.augmentation.estimate(student_output, labels)
            weight = self.augmentation.weight
            loss = self.augmented_kd(
                student_output.logits,
                teacher_logits,
                labels,
                weight.detach() if self.detach_classifier else weight,
                self.augmentation.covariance.covariance,
                strength=self.augmentation.strength_at(step),
                temperature=self.temperature,
                bound=self.bound,
            )
        return {self.term: self.weight * loss}


class Augmentation(TypedDict, total=False):
    """The options that `FAKD` and `FAKDPixel` share; see `FAKD`."""

    strength: float
    reference: Reference
    covariance: CovarianceForm
    window: int | None
    schedule: ScheduleName
    detach_classifier: bool
    confidence: float
    bound: Bound | None


class FAKDPixel(FAKD):
    """Match the teacher's class distribution at every pixel and every perturbation of the student's features.

        weight * pixel_kd(z + offsets, q),   offsets = logit_offsets(y, W, Sigma, lambda(t), "label")

    Args:
        student: the network that learns; its classifier's weight turns covariances of features into variances
            of logits.
        teacher: the frozen network.
        max_steps: T, length of the run in optimizer steps, over which the strength grows.
        weight: alpha, the term's share in the whole loss; 1 with the per-pixel mean
            (the paper is silent).
        temperature: tau, divides both logits before the softmax; 1.
        augmentation: the other options, as `FAKD` has them.

    Source: FAKD, Eq. 8; with the pixel's own class as the reference: one exponent a class in place of C x C, and a
    bound, which Eq. 8 as printed is not.

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
    plain_kd = staticmethod(pixel_kd)
    augmented_kd = staticmethod(augmented_pixel_kd)

    def __init__(
        self,
        student: SegmentationModel,
        teacher: SegmentationModel | ScoringModel,
        *,
        max_steps: int,
        weight: float = 1.0,
        temperature: float = 1.0,
        **augmentation: Unpack[Augmentation],
    ) -> None:
        super().__init__(student, teacher, max_steps=max_steps, weight=weight, temperature=temperature, **augmentation)
