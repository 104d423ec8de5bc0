"""Maps of logits in fewer bytes: as float16, as 8 bits, or the largest few of each position."""

import math
from collections.abc import Mapping
from typing import Literal

import torch
from torch import Tensor

LogitFormat = Literal["float16", "int8", "top8"]

_LEVELS = 255
TOP8 = 8
"""How many classes top8 keeps of each position."""


def encode_logits(logits: Tensor, form: LogitFormat) -> dict[str, Tensor]:
    """Compress one map.

    float16: each number rounded to 11 significant bits; 2 C bytes a position.
    int8: for each class the range of its logits on this map in 255 equal steps; C bytes a position.
    top8: the 8 largest logits of each position as float16, and the level that all other classes have in common, at
        which they keep their share of the softmax; 26 bytes a position, however many the classes are.

    Args:
        logits: (C, h, w) floats.
        form: one of the above.

    Returns:
        Tensors that `decode_logits` understands.

    Raises:
        ValueError: a logit is not finite or too large for float16, or there are no more than 8 classes for top8.

    Example:
        >>> coded = encode_logits(torch.tensor([[[0.0, 25.6, 51.0]]]), "int8")
        >>> coded["levels"].tolist(), decode_logits(coded, classes=1).tolist()
        ([[[0, 128, 255]]], [[[0.0, 25.600000381469727, 51.0]]])
    """
    logits = logits.float()
    if not bool((logits.max() - logits.min()).isfinite()):
        raise ValueError("some logits are infinite or NaN, which cannot be kept: is the teacher damaged?")
    if form == "int8":
        low, high = logits.amin((1, 2), keepdim=True), logits.amax((1, 2), keepdim=True)
        step = (high - low) / _LEVELS
        levels = ((logits - low) / step.where(step > 0, 1)).round().clamp(0, _LEVELS).to(torch.uint8)
        return {"levels": levels, "low": low, "step": step}
    if float(logits.abs().max()) > torch.finfo(torch.float16).max:
        raise ValueError(f"logits of up to {float(logits.abs().max()):.0f} are too large for {form}: choose int8.")
    if form == "float16":
        return {"logits": logits.half()}
    classes = len(logits)
    if classes <= TOP8:
        raise ValueError(f"top8 is for more than 8 classes, and there are {classes}: choose int8.")
    values, indices = logits.sort(dim=0, descending=True)
    rest = values[TOP8:].logsumexp(0) - math.log(classes - TOP8)
    return {"classes": indices[:TOP8].to(torch.uint8), "values": values[:TOP8].half(), "rest": rest.half()}


def decode_logits(coded: Mapping[str, Tensor], classes: int) -> Tensor:
    """Undo `encode_logits` up to its error.

    Args:
        coded: what it returned.
        classes: C.

    Returns:
        (C, h, w) float32.
    """
    if "logits" in coded:
        return coded["logits"].float()
    if "levels" in coded:
        return coded["levels"].float().mul_(coded["step"]).add_(coded["low"])
    logits = coded["rest"].float().expand(classes, *coded["rest"].shape).clone()
    return logits.scatter_(0, coded["classes"].long(), coded["values"].float())


def coded_bytes(form: LogitFormat, classes: int, height: int, width: int) -> int:
    """How much the codes of one map take, in bytes."""
    cells = height * width
    per_map = {"float16": 2 * classes * cells, "int8": classes * (cells + 8), "top8": (3 * TOP8 + 2) * cells}
    return per_map[form]
