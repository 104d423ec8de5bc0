"""The contract between a network and a distillation method."""

from typing import NamedTuple, Protocol, runtime_checkable

from torch import Tensor, nn

IGNORE_INDEX = 255
"""The label of pixels that no loss and no metric looks at."""


class SegmentationOutput(NamedTuple):
    """What a segmentation network returns, at the resolution of its own head.

    B images, C classes, A channels of the classifier's input, h x w positions.
    """

    logits: Tensor
    """(B, C, h, w) raw scores, not upsampled."""
    features: Tensor
    """(B, A, h, w) the input of the last 1x1 convolution, before dropout."""
    aux: Tensor | None = None
    """(B, C, h', w') the auxiliary head's scores, only in training."""
    stages: tuple[Tensor, ...] = ()
    """The encoder's maps, fine to coarse, for the methods that ask for them."""


@runtime_checkable
class SegmentationModel(Protocol):
    """Any module that maps RGB images (B, 3, H, W) in [0, 1] to a `SegmentationOutput`."""

    classifier: nn.Conv2d
    """The last 1x1 convolution: C output channels, A input channels."""

    def __call__(self, images: Tensor) -> SegmentationOutput: ...
