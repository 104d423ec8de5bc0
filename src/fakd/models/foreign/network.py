"""A network of another library as a network of this project: which library, and what its images go through."""

from collections.abc import Mapping
from types import ModuleType

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from fakd.models.foreign import from_hf, from_smp, from_torchvision
from fakd.models.foreign.config import Anatomy, ForeignConfig
from fakd.models.network import Network

LIBRARIES: Mapping[str, ModuleType] = {"torchvision": from_torchvision, "smp": from_smp, "hf": from_hf}
"""What stands before the colon of a name -> what builds such networks and reads their weights."""


def anatomy_of(config: ForeignConfig) -> Anatomy:
    """Build what a config describes, with random weights.

    Raises:
        ValueError: there is no such library, or it has no such network.
        ModuleNotFoundError: the library is not installed.
    """
    if config.library not in LIBRARIES:
        raise ValueError(f"unknown library {config.library!r}; valid: {', '.join(LIBRARIES)}")
    anatomy: Anatomy = LIBRARIES[config.library].build(config)
    return anatomy


class ForeignNetwork(Network):
    """A network that another library builds.

    Images are float RGB (B, 3, H, W) in [0, 1] of any height and width: they are normalised here, and where the network
    asks for sides that divide by 32 (or another number), for a square or for one size, they are filled up at the right
    and the bottom with the mean colour, and the maps that come back are cropped to the image.
    """

    config: ForeignConfig
    model: nn.Module

    def set_images(self, config: ForeignConfig, anatomy: Anatomy) -> None:
        """Take over how images are normalised, and which sizes the network asks for."""
        self.config = config
        self.multiple, self.size, self.square = anatomy.multiple, anatomy.size, anatomy.square
        self.register_buffer("mean", torch.tensor(config.mean).view(1, 3, 1, 1))
        self.register_buffer("std", torch.tensor(config.std).view(1, 3, 1, 1))

    def encoder_names(self) -> list[str]:
        """Names of the encoder's parameters, in order."""
        names = [name for name, _ in self.model.named_parameters()]
        return [f"model.{name}" for name in LIBRARIES[self.config.library].encoder_names(names)]

    def as_it_wants(self, images: Tensor) -> Tensor:
        """Normalise images (B, 3, H, W), RGB in [0, 1], and fill them up.

        Raises:
            ValueError: they are no such images, or larger than the one size that the network takes.
        """
        self.check_images(images)
        height, width = images.shape[-2:]
        images = (images - self.mean) / self.std
        images = images.flip(1) if self.config.bgr else images
        if self.size is not None and max(height, width) > self.size:
            one = f"{self.size},{self.size}"
            raise ValueError(
                f"this {self.config.network} takes images of {self.size}x{self.size} at most, got {height}x{width}: "
                f"give --crop-size {one}, and --window {one} where whole images are scored."
            )
        sides = (max(height, width),) * 2 if self.square else (height, width)
        tall, wide = (self.size or side + -side % self.multiple for side in sides)
        bottom, right = tall - height, wide - width
        # an exported graph must do for images of other sizes too
        return F.pad(images, (0, right, 0, bottom)) if bottom or right or torch.onnx.is_in_onnx_export() else images


def cropped(maps: Tensor, images: Tensor, filled: Tensor) -> Tensor:
    """The part of (B, C, h, w) maps of `filled` images that shows the `images`."""
    if images.shape[-2:] == filled.shape[-2:] and not torch.onnx.is_in_onnx_export():
        return maps
    sides = zip(maps.shape[-2:], images.shape[-2:], filled.shape[-2:], strict=True)
    height, width = ((cells * side + whole - 1) // whole for cells, side, whole in sides)  # rounded up
    return maps[..., :height, :width]
