"""How a network is asked about an image: whole or in windows, flipped, at several scales."""

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import reduce
from itertools import product
from typing import Literal

import torch
from timm.data.constants import IMAGENET_DEFAULT_MEAN
from torch import Tensor
from torchvision.transforms.v2 import functional as F

from fakd.data.spec import SlidingWindow
from fakd.functional import resize_logits
from fakd.options import Factors, Size
from fakd.types import SegmentationOutput

Model = Callable[[Tensor], SegmentationOutput]
"""(B, 3, H, W) float RGB in [0, 1] -> scores: a network."""


@dataclass(frozen=True)
class Inference:
    """How a network is asked about an image; the default is once, about the image as a whole.

    Raises:
        ValueError: `scales` is empty, or one of them is not a finite number above 0.
    """

    window: SlidingWindow | None = None
    """The parts that the network sees one after the other; None shows it the whole image."""
    flip: bool = False
    """Whether it is asked about the mirrored image too."""
    scales: tuple[float, ...] = (1.0,)
    """Factors by which the image is resized before it is shown; the window keeps its size."""

    def __post_init__(self) -> None:
        if not self.scales or not all(0 < scale < math.inf for scale in self.scales):
            raise ValueError(f"scales must be one or more factors above 0, got {list(self.scales)}.")

    @property
    def views(self) -> int:
        """How often the network is asked about the image, windows not counted."""
        return len(self.scales) * (1 + self.flip)


WHOLE = Inference()
"""The whole image, once."""


def to_float_images(images: Tensor) -> Tensor:
    """(..., 3, H, W) uint8 images as the float32 in [0, 1] that networks take."""
    floats: Tensor = F.to_dtype(images, torch.float32, scale=True)
    return floats


@torch.no_grad()
def predict_logits(model: Model, images: Tensor, size: Sequence[int], inference: Inference = WHOLE) -> Tensor:
    """Scores of images, upsampled to `size` = (height, width) before anything is decided.

    With windows, the scores of a window are resized to its own size, averaged where windows overlap, and then resized
    to `size`. With flips or several scales, what is averaged are the softmax probabilities at `size`, and their
    logarithm is returned. MMSegmentation does the same. So in any case argmax over the classes is the prediction, and
    softmax gives its probabilities.

    Args:
        model: in eval mode.
        images: (B, 3, H, W) float in [0, 1], or uint8.
        size: of the labels that the scores are compared with.
        inference: whole image or windows, flip and scales.

    Returns:
        (B, C, height, width).
    """
    if images.dtype == torch.uint8:
        images = to_float_images(images)
    logits = _logits_of_views(model, images, size, inference)
    if inference.views == 1:
        return next(logits)
    # One after the other, so that memory does not grow with the number of views.
    summed = reduce(torch.logaddexp, (view.log_softmax(1) for view in logits))
    return summed - math.log(inference.views)


def window_starts(length: int, window: int, stride: int) -> list[int]:
    """The first pixel of every window along one side, as MMSegmentation places them.

    They are a stride apart, but the last one is shifted back so that it ends where the image ends.

    Args:
        length: of the side; at least that of the window.
        window: the window's length.
        stride: from one window to the next.

    Example:
        >>> window_starts(1000, 480, 320)
        [0, 320, 520]
    """
    last = length - window
    return [*range(0, last, stride), last]


def _logits_of_views(model: Model, images: Tensor, size: Sequence[int], inference: Inference) -> Iterator[Tensor]:
    for scale in inference.scales:
        scaled = _rescale(images, scale)
        yield resize_logits(_logits(model, scaled, inference.window), size)
        if inference.flip:
            yield resize_logits(_logits(model, scaled.flip(-1), inference.window).flip(-1), size)


def _rescale(images: Tensor, scale: float) -> Tensor:
    if scale == 1:
        return images
    size = [max(1, round(side * scale)) for side in images.shape[-2:]]
    rescaled: Tensor = F.resize_image(images, size, antialias=True)
    return rescaled


def _logits(model: Model, images: Tensor, window: SlidingWindow | None) -> Tensor:
    return model(images).logits if window is None else _windowed_logits(model, images, window)


def _windowed_logits(model: Model, images: Tensor, window: SlidingWindow) -> Tensor:
    """Scores (B, C, H, W) at the images' own size, averaged over the windows that see a pixel.

    Where an image is smaller than the window it is filled up at the right and the bottom with the network's mean
    colour, which its normalisation turns into 0; the scores there are dropped. MMSegmentation shows the network the
    smaller image instead.
    """
    height, width = images.shape[-2:]
    images = _pad_to(images, window.size, _mean_colour(model, images))
    tall, wide = window.size
    tops, lefts = (window_starts(*sides) for sides in zip(images.shape[-2:], window.size, window.stride, strict=True))
    sums, counts = None, torch.zeros_like(images[:1, :1])
    for top, left in product(tops, lefts):
        part = (..., slice(top, top + tall), slice(left, left + wide))
        logits = resize_logits(model(images[part]).logits, window.size)
        if sums is None:  # not every network says beforehand how many classes it scores
            # float32 at least, whatever autocast makes of the scores
            dtype = torch.promote_types(images.dtype, torch.float32)
            sums = images.new_zeros((*logits.shape[:2], *images.shape[-2:]), dtype=dtype)
        sums[part] += logits
        counts[part] += 1
    assert sums is not None  # there is a window at least
    return sums.div_(counts)[..., :height, :width]


def _pad_to(images: Tensor, size: Sequence[int], colour: Tensor) -> Tensor:
    height, width = images.shape[-2:]
    if height >= size[0] and width >= size[1]:
        return images
    padded = colour.repeat(len(images), 1, max(height, size[0]), max(width, size[1]))
    padded[..., :height, :width] = images
    return padded


def _mean_colour(model: Model, images: Tensor) -> Tensor:
    """(1, channels, 1, 1) what the network's normalisation subtracts; ImageNet's mean where it does not say."""
    mean = getattr(model, "mean", None)
    colour = mean if isinstance(mean, Tensor) else torch.tensor(IMAGENET_DEFAULT_MEAN)
    return colour.to(images).view(1, -1, 1, 1)


Mode = Literal["auto", "whole", "slide"]


@dataclass(kw_only=True)
class InferenceConfig:
    """Whole images or sliding windows, flip, and scales; nothing here changes how a network is trained."""

    mode: Mode = "auto"
    """What a network sees when it is evaluated: the whole image, or windows that slide over it; auto is as the data
    set's benchmark does, or windows where --window is given."""
    window: Size | None = None
    """Height and width in pixels of a window, as 480,480; by default the data set's."""
    stride: Size | None = None
    """Pixels down and right from a window to the next, as 320,320; by default the data set's, or two thirds of
    --window."""
    flip: bool = False
    """Whether to average the predictions for an image and its mirror image."""
    scales: Factors = (1.0,)
    """Factors on the fitted size of an image, to average the predictions at each, as 0.75,1,1.25."""

    def inference(self, window: SlidingWindow | None) -> Inference:
        """What the options ask for.

        Args:
            window: that of the data set; None where its benchmark takes whole images.

        Raises:
            ValueError: the options contradict each other, or a number is out of range.
        """
        return Inference(self._window(window), self.flip, tuple(self.scales))

    def _window(self, default: SlidingWindow | None) -> SlidingWindow | None:
        if self.mode == "whole":
            if self.window or self.stride:
                raise ValueError("mode 'whole' has no windows: leave out --window and --stride, or give --mode slide.")
            return None
        if self.window:
            return SlidingWindow(self.window, self.stride or two_thirds(self.window))
        if default:
            return SlidingWindow(default.size, self.stride or default.stride)
        if self.mode == "slide" or self.stride:
            raise ValueError("the data set names no window to slide: say its size with --window HEIGHT,WIDTH.")
        return None


def two_thirds(size: tuple[int, int]) -> tuple[int, int]:
    """The overlap that MMSegmentation's configurations have: 320 for 480, 513 for 769."""
    height, width = (max(1, round(2 * side / 3)) for side in size)
    return height, width
