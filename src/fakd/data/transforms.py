"""What happens to an image and its mask between the disk and the network; pixels stay uint8."""

from dataclasses import dataclass

import torch
from torch import Tensor
from torchvision.transforms import v2
from torchvision.transforms.v2 import functional as F

from fakd.data.cropping import Window, resized_label_window, resized_window
from fakd.data.spec import Sample
from fakd.types import IGNORE_INDEX, UNLABELLED

_IMAGENET_MEAN = (124, 116, 104)
_OTHER_MEAN = 115  # of channels that are not red, green and blue
_CROP_DRAWS = 10


def fitted_size(size: tuple[int, int], base_size: tuple[int, int], ratio: float = 1.0) -> tuple[int, int]:
    """Compute the largest size of the same aspect that fits into `ratio` times the base size.

    As in MMSegmentation, the base size is turned for images that are upright: its long side bounds their
    long side. So a portrait photo is not shrunk to the height of a landscape.

    Args:
        size: (height, width) of the image in pixels.
        base_size: (height, width) in pixels.
        ratio: Factor on the base size.

    Returns:
        (height, width) in pixels, at least 1 each.

    Example:
        >>> fitted_size((720, 960), (360, 480)), fitted_size((960, 720), (360, 480), 0.5)
        ((360, 480), (240, 180))
    """
    height, width = size
    factor = ratio * min(max(base_size) / max(size), min(base_size) / min(size))
    return max(1, round(height * factor)), max(1, round(width * factor))


@dataclass(eq=False)
class TrainTransform:
    """Random scale, crop and flip of an image together with its mask.

    The image is fitted into `base_size` times a uniform random ratio, keeping its aspect (antialiased bilinear;
    nearest for the mask), then cropped; only what the crop needs is computed. A crop that reaches beyond the image
    is filled with the ImageNet mean colour and label 255. All randomness comes from torch's default CPU generator.

    Args:
        base_size: (height, width) in pixels at ratio 1, see `fitted_size`.
        crop_size: (height, width) in pixels of the result.
        scale: Lowest and highest ratio.
        flip: Probability of a horizontal flip.
        photometric: Whether brightness, contrast, saturation and hue are changed, each with probability
            0.5 and in MMSegmentation's ranges; as there, what is filled keeps its colour.
        max_class_share: A crop is drawn again, up to 10 times in all, while one class fills more than this
            share of its labelled pixels, or no pixel is labelled. 1 switches that off, and so does an image
            that nobody labelled.

    Raises:
        ValueError: A size, ratio or probability is out of its range.
    """

    base_size: tuple[int, int]
    crop_size: tuple[int, int]
    scale: tuple[float, float] = (0.5, 2.0)
    flip: float = 0.5
    photometric: bool = False
    max_class_share: float = 0.75

    def __post_init__(self) -> None:
        _require_size("base_size", self.base_size)
        _require_size("crop_size", self.crop_size)
        if not 0 < self.scale[0] <= self.scale[1]:
            raise ValueError(f"scale is {self.scale}, expected 0 < lowest <= highest")
        if not 0 <= self.flip <= 1:
            raise ValueError(f"flip is {self.flip}, expected a probability between 0 and 1")
        if not 0 < self.max_class_share <= 1:
            raise ValueError(f"max_class_share is {self.max_class_share}, expected more than 0 and at most 1")
        # Not v2.RandomPhotometricDistort: it also swaps colour channels, which MMSegmentation does not.
        jitters = ({"brightness": 0.125}, {"contrast": 0.5}, {"saturation": 0.5}, {"hue": 0.1})
        steps = [v2.RandomApply([v2.ColorJitter(**jitter)]) for jitter in jitters]
        self.colours = v2.Compose(steps) if self.photometric else None

    def __call__(self, sample: Sample) -> Sample:
        """Return a sample of exactly `crop_size`, uint8."""
        height, width = sample.label.shape
        lowest, highest = self.scale
        size = fitted_size((height, width), self.base_size, lowest + (highest - lowest) * torch.rand(()).item())
        flipped = torch.rand(()).item() < self.flip
        for _ in range(_CROP_DRAWS):
            (top, left), (high, wide) = map(_random_start, size, self.crop_size), self.crop_size
            window = Window(top, left, high, wide)
            label = resized_label_window(sample.label, size, window, flipped, fill=IGNORE_INDEX)
            if self._mixed(label):
                break
        channels = len(sample.image)
        fill = _IMAGENET_MEAN if channels == 3 else (_OTHER_MEAN,) * channels
        image = resized_window(sample.image, size, window, flipped, fill, self.colours)
        return Sample(image, label, sample.name, torch.tensor(window.geometry(size, flipped)))

    def _mixed(self, crop: Tensor) -> bool:
        if self.max_class_share == 1:
            return True
        counts = torch.bincount(crop.flatten(), minlength=256)[:IGNORE_INDEX]
        total = int(counts.sum())
        nobody = int(counts[UNLABELLED]) == total
        return total > 0 and (nobody or int(counts.max()) <= self.max_class_share * total)


class EvalTransform:
    """Fit the image into `base_size`, see `fitted_size`; the label keeps its own size.

    Args:
        base_size: (height, width) in pixels.

    Raises:
        ValueError: The size is not positive.
    """

    def __init__(self, base_size: tuple[int, int]) -> None:
        _require_size("base_size", base_size)
        self.base_size = base_size

    def __call__(self, sample: Sample) -> Sample:
        """Return the sample with a resized image."""
        return sample._replace(image=self.fit(sample.image))

    def fit(self, image: Tensor) -> Tensor:
        """Resize one (3, H, W) image, for prediction without labels."""
        size = fitted_size((image.shape[-2], image.shape[-1]), self.base_size)
        if size == image.shape[-2:]:
            return image
        resized: Tensor = F.resize_image(image, list(size), antialias=True)
        return resized


def _random_start(length: int, window: int) -> int:
    """Draw where a window starts: anywhere within the image, or with the whole image anywhere within it."""
    lowest, highest = sorted((0, length - window))
    return int(torch.randint(lowest, highest + 1, ()))


def _require_size(name: str, size: tuple[int, int]) -> None:
    if len(size) != 2 or min(size) < 1:
        raise ValueError(f"{name} is {size}, expected (height, width) of at least 1 pixel each")
