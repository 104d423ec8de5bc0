"""Networks as torch.compile makes them."""

from typing import Any

import torch
from torch import nn


def compiled(network: nn.Module) -> Any:
    """Return a network's compiled form, which shares its parameters; the network itself stays as it is.

    It is compiled at the first call, for that shape and mode: crops are all of one shape.
    """
    return torch.compile(network, dynamic=False)


def check_compiler(device: torch.device) -> None:
    """Compile one addition, so that a machine that cannot is found before the run and not at its first step.

    Raises:
        ValueError: torch.compile does not work here; the message says why.
    """
    # What an earlier run in this process compiled would count against the limit of recompilations.
    torch.compiler.reset()
    try:
        torch.compile(torch.add, dynamic=False)(torch.ones(2, device=device), 1)
    except Exception as error:  # what is missing shows in many ways
        cause = error.__cause__ or error
        reason = next((line.strip() for line in str(cause).splitlines() if line.strip()), type(cause).__name__)
        raise ValueError(
            f"torch.compile does not work on this machine ({reason}). It needs a C++ compiler such as g++, on GPUs "
            "Triton too: install what is missing, or leave --compile out."
        ) from error
