"""A network of another library that has no classifier of pixels: it scores them in its own way, and only teaches."""

from typing import Any

import torch
from torch import Tensor

from fakd.functional.inputs import full_precision
from fakd.models.foreign.config import ForeignConfig
from fakd.models.foreign.network import ForeignNetwork, anatomy_of, cropped
from fakd.types import SegmentationOutput


class ForeignScorer(ForeignNetwork):
    """A network that another library builds, as one that draws masks and names them, see `fakd.functional.mask_scores`.

    It gives scores without gradient, in full precision, and no features, so it has no `classifier` and cannot be
    trained; it stays in eval mode.

    Args:
        config: the architecture.

    Raises:
        ValueError: the library has no such network, or a classifier is named.
        ModuleNotFoundError: the library is not installed.
    """

    aux_head = None

    def __init__(self, config: ForeignConfig) -> None:
        super().__init__()
        if config.classifier is not None:
            given = "+".join(config.classifier)
            raise ValueError(f"{config.network} has no classifier of pixels: leave out @{given} behind its name.")
        anatomy = anatomy_of(config)
        assert anatomy.scores is not None
        self.model, self._scores = anatomy.module, anatomy.scores
        self.set_images(config, anatomy)
        self.eval()

    def train(self, mode: bool = True) -> Any:
        """Stay in eval mode: such networks do more in training than score."""
        return super().train(False)

    def drop_aux(self) -> None:
        """Do nothing, as there is no auxiliary head."""

    @torch.no_grad()
    def forward(self, images: Tensor) -> SegmentationOutput:
        """Score every class at every position, at the network's own stride.

        Args:
            images: (B, 3, H, W) float RGB in [0, 1], any H and W.

        Returns:
            logits (B, C, h, w) and features without a channel, (B, 0, h, w); h = ceil(H / s) with s the stride.

        Raises:
            ValueError: `images` is not a float tensor of three channels, or larger than the network takes.
        """
        filled = self.as_it_wants(images)
        scores = cropped(full_precision(self._scores(self.model, filled)), images, filled)
        return SegmentationOutput(scores, scores[:, :0])
