"""Libraries that `pip install fakd` leaves out."""

from importlib import import_module
from typing import Any

from fakd.console import install_command


def required(module: str, extra: str, need: str) -> Any:
    """Import a library.

    Args:
        module: its name.
        extra: what of this project's extras brings it.
        need: what needs it, as "videos need".

    Raises:
        ModuleNotFoundError: it is not installed; the message says how to.
    """
    try:
        return import_module(module)
    except ImportError as error:
        raise ModuleNotFoundError(f"{need} a package that is missing ({error}): {install_command(extra)}") from None
