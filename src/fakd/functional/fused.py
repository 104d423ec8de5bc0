"""Whether Triton kernels take a computation over, and what happens where they cannot."""

import os
import warnings
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from functools import cache
from importlib.util import find_spec
from typing import TypeVar

import torch
from torch import Tensor

Result = TypeVar("Result")

_failed: set[str] = set()


def takes(*tensors: Tensor) -> bool:
    """Whether kernels may be used: Triton is there, all is on one CUDA device and none of it is float64.

    `FAKD_TRITON=0` in the environment turns them off. With `TRITON_INTERPRET=1`, set before Triton is imported, they
    run on the CPU, slowly, for tests.
    """
    if os.environ.get("FAKD_TRITON", "1") == "0" or not _has_triton():
        return False
    device = "cpu" if os.environ.get("TRITON_INTERPRET") == "1" else "cuda"
    narrow = (torch.float32, torch.bfloat16, torch.float16)
    return all(tensor.device.type == device and tensor.dtype in narrow for tensor in tensors)


def fused_or(name: str, fused: Callable[[], Result], plain: Callable[[], Result]) -> Result:
    """The result of `fused`, or with one warning of `plain`, where kernels of this name do not compile, start or agree.

    What they have to agree with is in `fused_check`.
    """
    if name in _failed:
        return plain()
    try:
        return fused()
    except Exception as error:
        if isinstance(error, torch.OutOfMemoryError):
            raise
        _failed.add(name)
        reason = " ".join(str(error).split())[:300] or type(error).__name__
        warnings.warn(
            f"the Triton kernel of {name} cannot be used here ({type(error).__name__}: {reason}); "
            "PyTorch computes it instead, more slowly. FAKD_TRITON=0 in the environment avoids the attempt.",
            RuntimeWarning,
            stacklevel=2,
        )
        return plain()


def device_of(tensor: Tensor) -> AbstractContextManager[None]:
    """A context in which kernels start on the tensor's GPU, in its current stream; on a CPU nothing."""
    return torch.cuda.device(tensor.device) if tensor.device.type == "cuda" else nullcontext()


@cache
def _has_triton() -> bool:
    return find_spec("triton") is not None
