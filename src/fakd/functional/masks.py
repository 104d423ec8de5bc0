"""What a network that draws masks and names each of them says of every pixel."""

import torch
from torch import Tensor

from fakd.functional.inputs import full_precision, no_autocast


def mask_scores(class_logits: Tensor, mask_logits: Tensor) -> Tensor:
    """Score every class at every position, by the masks that cover it and the classes that these have.

        s_c(i) = log sum_q softmax(class_logits_q)_c sigmoid(mask_logits_q(i)),   c without "no object"

    It is the logarithm of what MaskFormer, Mask2Former, OneFormer and EoMT call their semantic inference: the same
    class wins. softmax(s) is each class's share of what all masks say of the position. The queries are summed by a
    matrix product, so no tensor has both queries and classes at every position.

    Args:
        class_logits: (B, Q, C + 1), the last class is "no object".
        mask_logits: (B, Q, h, w).

    Returns:
        (B, C, h, w), float32 or float64, at most log Q; at least the logarithm of the smallest normal number.

    Raises:
        ValueError: the shapes do not fit together.

    Source: Cheng et al., Per-Pixel Classification is Not All You Need for Semantic Segmentation (2021), section 3.4.

    Example:
        >>> classes = torch.tensor([[[0.6, 0.3, 0.1], [0.1, 0.5, 0.4]]]).log()
        >>> masks = torch.logit(torch.tensor([[[[0.9]], [[0.2]]]]))
        >>> mask_scores(classes, masks).exp().flatten()  # 0.6 * 0.9 + 0.1 * 0.2, 0.3 * 0.9 + 0.5 * 0.2
        tensor([0.5600, 0.3700])
    """
    shapes = tuple(class_logits.shape), tuple(mask_logits.shape)
    if class_logits.ndim != 3 or mask_logits.ndim != 4 or shapes[0][:2] != shapes[1][:2] or shapes[0][2] < 2:
        raise ValueError(f"expected class_logits (B, Q, C + 1) and mask_logits (B, Q, h, w), got {shapes}")
    with no_autocast(mask_logits):
        classes = full_precision(class_logits).softmax(-1)[..., :-1]
        shares = torch.einsum("bqc,bqhw->bchw", classes, full_precision(mask_logits).sigmoid())
        return shares.clamp_min(torch.finfo(shares.dtype).tiny).log()
