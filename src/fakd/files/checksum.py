"""What a file must hash to."""

import hashlib
import re
from pathlib import Path
from typing import NamedTuple


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
        digest = hashlib.new(self.algorithm, usedforsecurity=False)
        with path.open("rb") as file:
            while chunk := file.read(1 << 20):
                digest.update(chunk)
        return digest.hexdigest()[: len(self.prefix)]


def checksum_in_name(name: str) -> str | None:
    """The checksum that OpenMMLab and PyTorch write at the end of a file's name.

    Args:
        name: the name of a file, as "pspnet-967c316f.pth".

    Returns:
        The beginning of the file's SHA-256, as "sha256:967c316f"; None where the name has none.
    """
    found = re.search(r"-([0-9a-f]{8,64})(?:\.\w+){1,2}$", name)
    return f"sha256:{found[1]}" if found else None
