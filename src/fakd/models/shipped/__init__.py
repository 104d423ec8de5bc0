"""Trained networks that the package itself brings: a file in float16 and a card of each lie in this folder."""

from importlib.resources import files
from pathlib import Path

SHIPPED = {"toy-scenes": "fcn-concat/efficientnet_lite2"}
"""What a user calls it, which is the data set that it was trained on -> its architecture."""


def shipped_file(name: str) -> Path:
    """Return where one of `SHIPPED` lies."""
    return Path(str(files(__name__).joinpath(f"{name}.safetensors")))
