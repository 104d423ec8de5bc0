"""A teacher's logits on the disk: their codes and their files."""

import math
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from fakd.data.spec import DataError
from fakd.files.atomic import written_at_once

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


def save_checked(path: Path, tensors: Mapping[str, Tensor], label: str) -> None:
    """Write tensors with a label and a checksum, so that no reader ever sees half of them.

    Args:
        path: a .safetensors file; its folder is made if it does not exist.
        tensors: on the CPU.
        label: says what they are; whoever reads them must ask for the same.
    """
    whole = {name: tensor.contiguous() for name, tensor in tensors.items()}
    with written_at_once(path) as temporary:
        save_file(whole, temporary, {"label": label, "checksum": _checksum(whole)})


def load_checked(path: Path, label: str) -> dict[str, Tensor] | None:
    """Read what `save_checked` wrote; nothing in a file is executed.

    Returns:
        The tensors, mapped into memory; None if there is no such file, or its length, label or checksum is wrong.
    """
    try:
        with safe_open(path, framework="pt") as file:
            notes = file.metadata() or {}
            tensors: dict[str, Tensor] = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (no dict)
    except (OSError, SafetensorError):
        return None
    right = notes.get("label") == label and notes.get("checksum") == _checksum(tensors)
    return tensors if right else None


def _checksum(tensors: Mapping[str, Tensor]) -> str:
    """Of the bytes, and of how they are to be read."""
    crc = 0
    for name, tensor in sorted(tensors.items()):
        crc = zlib.crc32(repr((name, tensor.dtype, tuple(tensor.shape))).encode(), crc)
        crc = zlib.crc32(tensor.numpy().data, crc)
    return f"{crc:08x}"


@dataclass(frozen=True)
class LogitStore:
    """A teacher's logits of fixed crops of images, the views of `fakd.data.views`, each in a file of its own.

    Files are opened when they are asked for and mapped into memory, so processes share what they have read. Each is
    checked every time it is read.
    """

    folder: Path
    """Where the files are."""
    labels: Sequence[str]
    """What the files of each image must say they are, before the number of the view; see `save_checked`."""
    classes: int
    """C."""
    form: LogitFormat
    """How maps are compressed."""

    def path(self, view: int, index: int) -> Path:
        """The file of one view of one image."""
        return self.folder / f"{index:06d}-v{view:02d}.safetensors"

    def write(self, view: int, index: int, logits: Tensor) -> None:
        """Keep the (C, h, w) logits of a view, which are on the CPU.

        Raises:
            ValueError: they cannot be compressed, see `encode_logits`.
        """
        save_checked(self.path(view, index), encode_logits(logits, self.form), self._label(view, index))

    def is_right(self, view: int, index: int) -> bool:
        """Whether the logits are there, whole, and of this view of this image."""
        return load_checked(self.path(view, index), self._label(view, index)) is not None

    def read(self, view: int, index: int) -> Tensor:
        """Return the (C, h, w) logits of a view as float32.

        Raises:
            DataError: the file is missing, damaged, or of another image, teacher or format.
        """
        coded = load_checked(self.path(view, index), self._label(view, index))
        if coded is None:
            raise DataError(
                f"{self.path(view, index)}: the cached logits were removed, damaged or replaced since the run began. "
                "Run the same command again with --resume: they are then computed anew."
            )
        return decode_logits(coded, self.classes)

    def _label(self, view: int, index: int) -> str:
        return f"{self.labels[index]} view {view}"
