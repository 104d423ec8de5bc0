"""Files of tensors that tell when they are damaged, or are not what they are taken for."""

import zlib
from collections.abc import Mapping
from pathlib import Path

from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from fakd.writing import written_at_once


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
