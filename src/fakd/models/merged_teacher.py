"""A teacher as a student with other classes sees it: its classes merged into the student's."""

from collections.abc import Sequence

import torch
from torch import Tensor

from fakd.functional import merge_logits
from fakd.models.network import Scorer
from fakd.types import Classifier, SegmentationOutput


class MergedClassifier:
    """What a method may ask of a merged teacher's classifier: how many channels it reads, and how many classes it says.

    The weight is missing, as a logsumexp of convolutions is none.
    """

    kernel_size, padding, dilation = (1, 1), (0, 0), (1, 1)

    def __init__(self, in_channels: int, out_channels: int) -> None:
        self.in_channels, self.out_channels = in_channels, out_channels

    @property
    def weight(self) -> Tensor:
        """Raise, for there is none."""
        raise AttributeError("a teacher whose classes are merged has no classifier with a weight")


class MergedTeacher(Scorer):
    """A network that scores the student's classes: its own logits, merged at its own stride by `merge_logits`.

    Features and stages are the network's own; there are no auxiliary scores.

    Args:
        network: the teacher.
        groups: for each class of the student, the indices of the network's that belong to it.

    Raises:
        ValueError: a group is empty, an index is none of the network's classes, or a network that gives labels alone is
            to have classes united.
    """

    classifier: Classifier
    """Only where the network has one."""

    def __init__(self, network: Scorer, groups: Sequence[Sequence[int]]) -> None:
        super().__init__()
        self.network = network
        self.groups = tuple(map(tuple, groups))
        merge_logits(torch.zeros(1, network.num_classes, 1, 1), self.groups)  # groups that cannot be fail here
        if network.gives_labels and any(len(group) > 1 for group in self.groups):
            raise ValueError(
                "classes of a network that gives labels and no scores cannot be merged: use one with scores."
            )
        self.gives_labels = network.gives_labels
        if (own := getattr(network, "classifier", None)) is not None:
            self.classifier = MergedClassifier(own.in_channels, self.num_classes)
        self.register_buffer("mean", network.mean, persistent=False)

    @property
    def num_classes(self) -> int:
        """C, the classes of the student."""
        return len(self.groups)

    def forward(self, images: Tensor) -> SegmentationOutput:
        """Score the student's classes in images (B, 3, H, W)."""
        output: SegmentationOutput = self.network(images)
        return output._replace(logits=merge_logits(output.logits, self.groups), aux=None)
