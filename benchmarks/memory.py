"""The memory that a call takes."""

from collections.abc import Callable

import torch

from fakd.models.cost import PeakMemory

Call = Callable[[], object]


def peak_memory(call: Call, device: str) -> int:
    """The most bytes that a call's tensors hold at once beside what was there; on a GPU, what the allocator holds."""
    if device == "cuda":
        return _peak_on_gpu(call)
    with PeakMemory() as memory:
        call()
    return memory.peak


def _peak_on_gpu(call: Call) -> int:
    torch.cuda.synchronize()
    torch.cuda.reset_peak_memory_stats()
    before = torch.cuda.memory_allocated()
    call()
    torch.cuda.synchronize()
    return torch.cuda.max_memory_allocated() - before
