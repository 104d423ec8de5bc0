"""Hashes: what a file must hash to, and what tells words and tensors from others."""

import hashlib
import re
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor


class Checksum(NamedTuple):
    """The beginning of a file's digest."""

    algorithm: str
    """Name for hashlib: "sha256" or "md5"."""
    prefix: str
    """8 or more hex digits."""

    @classmethod
    def parse(cls, text: str | None) -> "Checksum | None":
        """Read "sha256:967c316f"; None stands for no checksum.

        Raises:
            ValueError: the text is malformed.
        """
        if text is None:
            return None
        found = re.fullmatch(r"sha256:[0-9a-f]{8,64}|md5:[0-9a-f]{8,32}", text.lower())
        if not found:
            raise ValueError(f'expected "sha256:" or "md5:" and 8 or more hex digits as checksum, got {text!r}.')
        return cls(*found[0].split(":"))

    def found_in(self, path: Path) -> str:
        """The beginning of the file's digest, as long as the expected one."""
        with path.open("rb") as file:
            found = hashlib.file_digest(file, lambda: hashlib.new(self.algorithm, usedforsecurity=False))
        return found.hexdigest()[: len(self.prefix)]


def checksum_in_name(name: str) -> str | None:
    """The SHA-256 that OpenMMLab and PyTorch write at the end of a file's name; None where the name has none.

    Example:
        >>> checksum_in_name("pspnet-967c316f.pth")
        'sha256:967c316f'
    """
    found = re.search(r"-([0-9a-f]{8,64})(?:\.\w+){1,2}$", name)
    return f"sha256:{found[1]}" if found else None


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
