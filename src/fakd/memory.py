"""What to do where memory is short."""

from collections.abc import Mapping
from typing import Any

import torch

_SHORT = ("can't allocate memory", "not enough memory", "out of memory")
"""What PyTorch says on a CPU, on Windows in other words, and on devices that have no error of their own for it."""


def memory_advice(error: Exception, options: Mapping[str, Any]) -> str | None:
    """Say that memory ran out, and which of a command's options need less; None where the error is another.

    Args:
        error: that ended the command.
        options: of the command, by name.
    """
    if not isinstance(error, torch.OutOfMemoryError | MemoryError) and not (
        isinstance(error, RuntimeError) and any(words in str(error) for words in _SHORT)
    ):
        return None
    ways = [f"--{name}" for name in ("batch_size", "crop_size") if name in options]
    if not ways and "base_size" in options:
        ways = ["--base_size"]
    advice = [f"lower {' or '.join(ways)}"] if ways else []
    if options.get("precision") == "32-true":
        advice.append("use --precision bf16-mixed")
    return f"not enough memory: {', or '.join(advice) or 'end other programs that use it'}."
