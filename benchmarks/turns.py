"""Time, memory and bandwidth of calls, measured in turns in one process."""

from collections.abc import Callable
from functools import partial
from statistics import median
from time import perf_counter

import torch
from torch.profiler import ProfilerActivity, profile

from fakd.models.cost import PeakMemory

Call = Callable[[], object]
LONG, FEW_ROUNDS = 1.0, 3


def seconds(call: Call, device: str) -> float:
    wait = torch.cuda.synchronize if device == "cuda" else lambda: None
    wait()
    start = perf_counter()
    call()
    wait()
    return perf_counter() - start


def time_in_rounds(calls: dict[str, Call], rounds: int, device: str) -> dict[str, list[float]]:
    """Seconds of each call, round by round, after one that does not count."""
    slow = {name for name, call in calls.items() if seconds(call, device) > LONG}
    times: dict[str, list[float]] = {name: [] for name in calls}
    for done in range(rounds):
        for name, call in calls.items():
            if done < FEW_ROUNDS or name not in slow:
                times[name].append(seconds(call, device))
    return times


def ratio(times: dict[str, list[float]], name: str, base: str) -> float:
    return median(own / other for own, other in zip(times[name], times[base], strict=False))


def peak_memory(call: Call, device: str) -> int:
    """The most bytes that a call's tensors hold at once beside what was there; on a GPU, what the allocator holds."""
    if device == "cuda":
        return _peak_on_gpu(call)
    with PeakMemory() as memory:
        call()
    return memory.peak


def peak_allocated(call: Call, device: str) -> int:
    """The same of all that is allocated, buffers inside PyTorch's operations included."""
    if device == "cuda":
        return _peak_on_gpu(call)
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as profiler:
        call()
    changes = [event for event in profiler.profiler.kineto_results.events() if event.name() == "[memory]"]
    held = peak = 0
    for event in sorted(changes, key=lambda event: event.start_ns()):
        held += event.nbytes()
        peak = max(peak, held)
    return peak


def _peak_on_gpu(call: Call) -> int:
    torch.cuda.synchronize()
    torch.cuda.reset_peak_memory_stats()
    before = torch.cuda.memory_allocated()
    call()
    torch.cuda.synchronize()
    return torch.cuda.max_memory_allocated() - before


def copy_bandwidth(device: str) -> float:
    """Bytes per second that a plain copy of 256 MB reads and writes."""
    source = torch.ones(2**26, device=device)
    copy = partial(torch.empty_like(source).copy_, source)
    return 2 * source.nbytes / min(seconds(copy, device) for _ in range(10))
