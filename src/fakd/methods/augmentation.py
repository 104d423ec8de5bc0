"""What makes FAKD of a loss on logits: the student's logits, moved by half of their variance."""

from collections.abc import Mapping
from typing import Literal

from torch import Tensor, nn

from fakd.functional import logit_offsets, resize_labels, unfold_features
from fakd.functional.inputs import Reference, check_choice
from fakd.methods.covariance import ClassCovariance
from fakd.methods.options import check_numbers
from fakd.methods.schedules import SCHEDULES
from fakd.types import Classifier, SegmentationModel, SegmentationOutput

CovarianceForm = Literal["diagonal", "full"]
ScheduleName = Literal["cosine", "linear", "constant"]


class LogitAugmentation(nn.Module):
    """Estimates how features vary within each class, and moves the student's logits by half of what that makes of them.

    Args:
        student: the network that learns; its classifier's weight turns covariances of features into variances of
            logits.
        max_steps: T, length of the run in optimizer steps, over which the strength grows.
        strength: lambda at the end of the ramp; 0 leaves the logits as they are, and estimates nothing.
        reference: of `logit_offsets`.
        covariance: "diagonal" (C x A numbers) or "full" (C x A x A).
        window: the most pixels a class remembers; None, the paper's, never forgets.
        schedule: how lambda grows: "cosine" (the paper's), "linear" or "constant".
        name: what the method calls `strength`, for errors.

    The covariance is updated by every training batch before it is used; in eval mode it stays as it is. Where the
    student's classifier is k x k, the features of a position are all k^2 that the classifier sees there, which makes it
    a 1x1 convolution of A k^2 channels.
    """

    def __init__(
        self,
        student: SegmentationModel,
        *,
        max_steps: int,
        strength: float,
        reference: Reference = "label",
        covariance: CovarianceForm = "diagonal",
        window: int | None = None,
        schedule: ScheduleName = "cosine",
        name: str = "strength",
    ) -> None:
        super().__init__()
        check_numbers(**{name: strength})
        check_choice(Reference, reference=reference)
        check_choice(CovarianceForm, covariance=covariance)
        check_choice(ScheduleName, schedule=schedule)
        if window is not None and (not isinstance(window, int) or isinstance(window, bool)):
            raise ValueError(f"window must be a whole number of pixels or None, got {window!r}.")
        self.max_steps, self.strength, self.reference, self.schedule = max_steps, strength, reference, schedule
        self.name = name
        self.share = 0.0
        """Of the full strength, at the last step."""
        self.covariance = None
        if strength:
            classes, channels = student.classifier.weight.flatten(1).shape
            self.covariance = ClassCovariance(classes, channels, diagonal=covariance == "diagonal", window=window)
        self.watched: dict[str, Tensor] = {}
        """For the log: the total variance of a class's features (the mean over the classes seen so far), the mean
        offset, and the standard deviation of the teacher's logits."""
        # Read, not owned: in a tuple the student's parameters stay out of this module's state_dict.
        self._student = (student,)

    def strength_at(self, step: int) -> float:
        """Lambda after `step` optimizer steps."""
        return self.strength * SCHEDULES[self.schedule](step, self.max_steps)

    @property
    def weight(self) -> Tensor:
        """(C, A) the student's classifier."""
        return self._student[0].classifier.weight.flatten(1)

    def forward(self, output: SegmentationOutput, teacher_logits: Tensor, labels: Tensor, step: int) -> Tensor:
        """The student's logits, moved.

        Args:
            output: the student's.
            teacher_logits: (B, C, h, w), for the log alone.
            labels: (B, H, W) integers at any size, 255 = ignore.
            step: optimizer steps done so far.

        Returns:
            (B, C, h, w).
        """
        if self.covariance is None:
            return output.logits
        labels = self.estimate(output, labels)
        strength = self.strength_at(step)
        offsets = logit_offsets(
            labels, self.weight, self.covariance.covariance, strength=strength, reference=self.reference
        )
        self.watched |= {"offset": offsets.mean(), "teacher_spread": teacher_logits.detach().float().std()}
        self.share = strength / self.strength
        return output.logits + offsets

    def estimate(self, output: SegmentationOutput, labels: Tensor) -> Tensor:
        """Take a training batch into the covariance; returns the labels at the size of the logits."""
        assert self.covariance is not None
        labels = resize_labels(labels, output.logits.shape[-2:])
        if self.training:
            self.covariance.update(_seen(self._student[0].classifier, output.features.detach()), labels)
        self.watched = {"variance": _mean_variance(self.covariance)}
        return labels

    def remark(self, watched: Mapping[str, float]) -> str | None:
        """What to say of these values of `watched`: that the offsets will be larger than what they are added to."""
        offset, spread = watched.get("offset", 0.0), watched.get("teacher_spread", 0.0)
        if offset <= spread * self.share:
            return None
        return (
            f"at full strength the mean offset of the logits would be {offset / self.share:.2f}, and the spread of the "
            f"teacher's is {spread:.2f}: runs with larger offsets than that may diverge; give a smaller {self.name}."
        )


def _mean_variance(estimate: ClassCovariance) -> Tensor:
    variances = estimate.covariance if estimate.diagonal else estimate.covariance.diagonal(dim1=1, dim2=2)
    seen = estimate.count > 0
    return (variances.sum(1) * seen).sum() / seen.sum().clamp(min=1)


def _seen(classifier: Classifier, features: Tensor) -> Tensor:
    """The features as one vector for each position of the logits."""
    if classifier.kernel_size == (1, 1):
        return features
    assert not isinstance(classifier.padding, str)  # no ClassifierTap takes such a one
    return unfold_features(features, classifier.kernel_size, classifier.padding, classifier.dilation)
