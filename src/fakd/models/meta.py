"""Networks without memory behind their weights: layers and shapes alone."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch.overrides import TorchFunctionMode


@contextmanager
def on_meta() -> Iterator[None]:
    """Let what is built here have no memory, and draw no random numbers.

    Example:
        >>> with on_meta():
        ...     layer = torch.nn.Linear(1_000_000, 1_000_000)
        >>> layer.weight.device.type
        'meta'
    """
    with torch.random.fork_rng(devices=[]), torch.device("meta"), _RatesOnCPU():
        yield


class _RatesOnCPU(TorchFunctionMode):
    """Lets constructors read the drop rates of their layers, which some make by linspace, where all else is meta."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = dict(kwargs or {})
        if func is torch.linspace:
            kwargs.setdefault("device", "cpu")
        return func(*args, **kwargs)
