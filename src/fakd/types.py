"""The contract between a network and a distillation method."""

from typing import NamedTuple, Protocol, runtime_checkable

from torch import Tensor

IGNORE_INDEX = 255
"""The label of pixels that no loss and no metric looks at."""
UNLABELLED = 254
"""The label of every pixel of an image that nobody labelled; a teacher says what it is."""


class SegmentationOutput(NamedTuple):
    """What a segmentation network returns, at the resolution of its own head.

    B images, C classes, A channels of the classifier's input, h x w positions.
    """

    logits: Tensor
    """(B, C, h, w) raw scores, not upsampled."""
    features: Tensor
    """(B, A, h, w) the input of the last convolution, before dropout; (B, 0, h, w) of a network that only scores."""
    aux: Tensor | None = None
    """(B, C, h', w') the auxiliary head's scores, only in training."""
    stages: tuple[Tensor, ...] = ()
    """The encoder's maps, fine to coarse, for the methods that ask for them."""


class Classifier(Protocol):
    """The last convolution: an nn.Conv2d, nearly always 1x1, or what stands for several."""

    in_channels: int
    """A."""
    out_channels: int
    """C."""

    @property
    def weight(self) -> Tensor:
        """(C, A, k, k)."""

    @property
    def kernel_size(self) -> tuple[int, ...]:
        """(k, k); (1, 1) nearly always. The next two say how a larger one moves; its stride is 1."""

    @property
    def padding(self) -> tuple[int, ...] | str:
        """Positions of zeros around the map."""

    @property
    def dilation(self) -> tuple[int, ...]:
        """Distance between its taps."""


@runtime_checkable
class SegmentationModel(Protocol):
    """Any module that maps RGB images (B, 3, H, W) in [0, 1] to a `SegmentationOutput`."""

    @property
    def classifier(self) -> Classifier:
        """The last convolution: C output channels, A input channels."""

    def __call__(self, images: Tensor) -> SegmentationOutput: ...


@runtime_checkable
class ScoringModel(Protocol):
    """Any module that scores pixels and has no features to learn from: masks with classes, an exported file, several.

    It maps images as a `SegmentationModel` does. The features of its output have no channel, (B, 0, h, w), and it has
    no attribute `classifier`.
    """

    @property
    def num_classes(self) -> int:
        """C, the channels of the logits."""

    def __call__(self, images: Tensor) -> SegmentationOutput: ...


def scores_alone(model: object) -> bool:
    """Whether a network gives scores and no features, so that it teaches only methods that need no more."""
    return not hasattr(model, "classifier")
