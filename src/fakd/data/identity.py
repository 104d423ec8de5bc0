"""Whether images and weights are still those that something was computed from."""

import hashlib
from collections.abc import Iterable

import torch
from torch import Tensor

from fakd.data.paired_files import PairedFiles
from fakd.data.reading import upright_size
from fakd.data.spec import Source


def digest(parts: Iterable[str | Tensor]) -> str:
    """Hash words and tensors, each with its type and shape, to 32 hex digits.

    Example:
        >>> digest(["a", torch.zeros(2)]) == digest(["a", torch.zeros(1, 2)])
        False
    """
    sha = hashlib.sha256()
    for part in parts:
        if isinstance(part, Tensor):
            sha.update(repr((part.dtype, tuple(part.shape))).encode())
            sha.update(part.detach().cpu().contiguous().flatten().view(torch.uint8).numpy().data)
        else:
            sha.update(repr(part).encode())
    return sha.hexdigest()[:32]


def image_identity(source: Source, index: int) -> str:
    """What changes with an image: of a file its place, size and time, else its name and pixels.

    Raises:
        FileNotFoundError: the file is gone.
    """
    if isinstance(source, PairedFiles):
        path = source.pairs[index][0]
        found = path.stat()
        return f"{path.relative_to(source.root).as_posix()} {found.st_size} {found.st_mtime_ns}"
    sample = source[index]
    return f"{sample.name} {digest([sample.image])}"


def image_size(source: Source, index: int) -> tuple[int, int]:
    """(height, width) of an image in pixels; of a file without decoding it."""
    if isinstance(source, PairedFiles):
        return upright_size(source.pairs[index][0])
    height, width = source[index].label.shape
    return height, width
