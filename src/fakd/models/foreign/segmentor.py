"""A network of another library, with the contract of this project's own."""

from collections.abc import Callable, Mapping
from dataclasses import replace

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from fakd.models.foreign import from_hf, from_smp, from_torchvision
from fakd.models.foreign.config import Anatomy, ForeignConfig
from fakd.models.network import Network
from fakd.models.tap import ClassifierTap
from fakd.types import SegmentationOutput

BUILDERS: Mapping[str, Callable[[ForeignConfig], Anatomy]] = {
    "torchvision": from_torchvision.build,
    "smp": from_smp.build,
    "hf": from_hf.build,
}
"""Library -> what builds one of its networks with random weights, without asking the network for anything."""


class ForeignSegmentor(ClassifierTap, Network, built_from=ForeignConfig):
    """A network that another library builds, used as a `Segmentor` is.

    Images are float RGB (B, 3, H, W) in [0, 1] of any height and width: they are normalised here, and where the network
    asks for sides that divide by 32 (or another number), they are filled up at the right and the bottom with the mean
    colour, and the maps that come back are cropped to the image. `stages` is empty.

    Args:
        config: the architecture.

    Raises:
        ValueError: the library has no such network, or which of its convolutions is the classifier cannot be told.
        ModuleNotFoundError: the library is not installed.
    """

    config: ForeignConfig

    def __init__(self, config: ForeignConfig) -> None:
        if config.library not in BUILDERS:
            raise ValueError(f"unknown library {config.library!r}; valid: {', '.join(BUILDERS)}")
        anatomy = BUILDERS[config.library](config)
        classifier = config.classifier or anatomy.classifier
        try:
            super().__init__(anatomy.module, config.num_classes, classifier, anatomy.aux, anatomy.features)
        except ValueError as error:
            raise ValueError(
                f"{config.library}:{config.name}: {error}. Name it by its path behind the network's name, as "
                f"{config.library}:NAME@PATH, or PATH+PATH for several that the network adds."
            ) from error
        self.config = config
        self.multiple = anatomy.multiple
        self.register_buffer("mean", torch.tensor(config.mean).view(1, 3, 1, 1))
        self.register_buffer("std", torch.tensor(config.std).view(1, 3, 1, 1))

    @property
    def aux_head(self) -> nn.Module | None:
        """The auxiliary head, which only counts in training."""
        return self.model.get_submodule(self.aux) if isinstance(self.aux, str) else None

    def drop_aux(self) -> None:
        """Take the auxiliary head away, as inference has no use for it."""
        if isinstance(self.aux, str):
            setattr(self.model, self.aux, None)
        self.aux = None
        self.config = replace(self.config, aux=False)

    def forward(self, images: Tensor) -> SegmentationOutput:
        """Score every class at every position of the network's own head.

        Args:
            images: (B, 3, H, W) float RGB in [0, 1], any H and W.

        Returns:
            logits (B, C, h, w), features (B, A, h, w), and in training mode the auxiliary head's scores if there is
            one; h = ceil(H / s) with s the stride of the head.

        Raises:
            ValueError: `images` is not a float tensor of three channels.
        """
        self.check_images(images)
        size = images.shape[-2:]
        images = (images - self.mean) / self.std
        images = images.flip(1) if self.config.bgr else images
        bottom, right = (-side % self.multiple for side in size)
        # an exported graph must do for images of other sizes too
        if not bottom and not right and not torch.onnx.is_in_onnx_export():
            return super().forward(images)
        padded = F.pad(images, (0, right, 0, bottom))
        output = super().forward(padded)
        aux = output.aux if output.aux is None else _cropped(output.aux, size, padded.shape[-2:])
        return SegmentationOutput(
            _cropped(output.logits, size, padded.shape[-2:]), _cropped(output.features, size, padded.shape[-2:]), aux
        )


def _cropped(maps: Tensor, size: torch.Size, padded: torch.Size) -> Tensor:
    """The part of (B, C, h, w) maps that shows `size` of the `padded` pixels."""
    sides = zip(maps.shape[-2:], size, padded, strict=True)
    height, width = ((cells * side + whole - 1) // whole for cells, side, whole in sides)  # rounded up
    return maps[..., :height, :width]
