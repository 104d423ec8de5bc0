"""The networks of transformers that score pixels without a convolution for it: nearly all name masks that they draw."""

from collections.abc import Callable, Mapping
from typing import Any

import torch
from timm.layers import resample_abs_pos_embed  # type: ignore[attr-defined]
from torch import Tensor, nn

from fakd.functional.masks import mask_scores

# "the task is semantic" in the words of CLIP, as OneFormer's processor writes it: start, the words, end, then zeros.
_SEMANTIC = (49406, 518, 10549, 533, 29119, 1550, 49407)


def _of_masks(module: nn.Module, images: Tensor) -> Tensor:
    found: Any = module(pixel_values=images)
    return mask_scores(found.class_queries_logits, found.masks_queries_logits)


def _of_detr(module: nn.Module, images: Tensor) -> Tensor:
    found: Any = module(pixel_values=images)
    return mask_scores(found.logits, found.pred_masks)


def _of_oneformer(module: Any, images: Tensor) -> Tensor:
    """Asked for the semantic task, which its other tasks' weights know too."""
    length = module.config.task_seq_len
    task = torch.tensor([*_SEMANTIC, *[0] * length][:length], device=images.device)
    found: Any = module(pixel_values=images, task_inputs=task.expand(len(images), -1))
    return mask_scores(found.class_queries_logits, found.masks_queries_logits)


def _of_eomt(module: Any, images: Tensor) -> Tensor:
    """At the images' size rather than at the one of its training, which its forward pass takes for granted."""
    module.grid_size = tuple(side // module.config.patch_size for side in images.shape[-2:])
    if isinstance(positions := getattr(module.embeddings, "position_embeddings", None), ResizedPositions):
        positions.grid = module.grid_size
    return _of_masks(module, images)


def _of_linear(module: nn.Module, images: Tensor) -> Tensor:
    """What a network gives whose classifier is a linear layer on channels that come last."""
    found: Any = module(pixel_values=images)
    scores: Tensor = found.logits
    return scores


SCORES: Mapping[str, Callable[[nn.Module, Tensor], Tensor]] = {
    "detr": _of_detr,
    "eomt": _of_eomt,
    "eomt_dinov3": _of_eomt,
    "mask2former": _of_masks,
    "maskformer": _of_masks,
    "oneformer": _of_oneformer,
    "tipsv2_dpt": _of_linear,
}
"""Type of a network -> what calls it with normalised images (B, 3, H, W) and returns scores (B, C, h, w)."""


class ResizedPositions(nn.Embedding):
    """Learned positions of a square grid, resampled to another grid; whichever positions are asked for."""

    grid: tuple[int, int]
    """(rows, columns) of the images that are looked at."""

    def forward(self, positions: Tensor) -> Tensor:
        """Return (1, rows * columns, channels)."""
        side = round(self.num_embeddings**0.5)
        resampled: Tensor = resample_abs_pos_embed(
            self.weight[None], new_size=list(self.grid), old_size=[side, side], num_prefix_tokens=0
        )
        return resampled


def resize_positions(module: Any) -> None:
    """Let a network of one image size look at others, where that is one of learned positions alone (EoMT)."""
    learned = getattr(getattr(module, "embeddings", None), "position_embeddings", None)
    if type(learned) is nn.Embedding:
        resized = ResizedPositions(learned.num_embeddings, learned.embedding_dim, device="meta")
        resized.weight = learned.weight
        module.embeddings.position_embeddings = resized
