"""A network of another library with a classifier of pixels: the contract of this project's own."""

from dataclasses import replace

from torch import Tensor, nn

from fakd.models.foreign.config import ForeignConfig
from fakd.models.foreign.network import ForeignNetwork, anatomy_of, cropped
from fakd.models.tap import ClassifierTap
from fakd.types import SegmentationOutput


class ForeignSegmentor(ClassifierTap, ForeignNetwork):
    """A network that another library builds, used as a `Segmentor` is; `stages` is empty.

    Args:
        config: the architecture.

    Raises:
        ValueError: the library has no such network, or which of its convolutions is the classifier cannot be told.
        ModuleNotFoundError: the library is not installed.
    """

    def __init__(self, config: ForeignConfig) -> None:
        anatomy = anatomy_of(config)
        classifier = config.classifier or anatomy.classifier
        try:
            super().__init__(anatomy.module, config.num_classes, classifier, anatomy.aux, anatomy.features)
        except ValueError as error:
            raise ValueError(
                f"{config.library}:{config.name}: {error}. Name it by its path behind the network's name, as "
                f"{config.library}:NAME@PATH, or PATH+PATH for several that the network adds."
            ) from error
        self.set_images(config, anatomy)

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
            ValueError: `images` is not a float tensor of three channels, or larger than the network takes.
        """
        filled = self.as_it_wants(images)
        output = super().forward(filled)
        aux = output.aux if output.aux is None else cropped(output.aux, images, filled)
        return SegmentationOutput(cropped(output.logits, images, filled), cropped(output.features, images, filled), aux)
