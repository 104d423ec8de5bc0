"""What the foreign libraries have in common: they may be missing, and they describe networks as JSON."""

import json
from collections.abc import Mapping
from importlib import import_module
from pathlib import Path
from typing import Any

_LONGEST = 1 << 24  # bytes; the longest configurations have names of ten thousand classes


def library(module: str, extra: str) -> Any:
    """Import an optional library.

    Args:
        module: its name.
        extra: what of this project's extras brings it.

    Raises:
        ModuleNotFoundError: it is not installed.
    """
    try:
        return import_module(module)
    except ModuleNotFoundError as error:
        if error.name != module:
            raise
        raise ModuleNotFoundError(f"this needs {module}, which is not installed: pip install 'fakd[{extra}]'") from None


def read_json(path: Path) -> dict[str, Any]:
    """Read a configuration.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it holds no JSON object, or is too large.
    """
    if not path.is_file():
        raise FileNotFoundError(f"no {path.name} in {path.parent}")
    if path.stat().st_size > _LONGEST:
        raise ValueError(f"{path} is {path.stat().st_size:,} bytes, expected {_LONGEST:,} at most")
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{path} cannot be read as JSON ({error})") from error
    if not isinstance(found, Mapping):
        raise ValueError(f"{path} must hold a JSON object, got {type(found).__name__}")
    return dict(found)
