"""What computes: the device by its name, how many processes, as many threads as the machine has free cores for."""

import os
import platform
import re
from pathlib import Path

import psutil
import torch
import torch.distributed as dist

_LOOK = 0.3  # seconds that are looked at how busy the cores are


def free_cores() -> int:
    """How many of the cores that this process may use are idle now, as far as can be told; at least one.

    Threads that wait for one another lose far more than they gain where another process holds one of their cores: two
    on two cores, one of them busy, can take ten times as long as one.
    """
    mine = os.sched_getaffinity(0) if hasattr(os, "sched_getaffinity") else range(os.cpu_count() or 1)
    busy = psutil.cpu_percent(_LOOK, percpu=True)
    idle: float = sum(100 - busy[core] for core in mine if core < len(busy)) / 100
    return max(1, round(idle))


def use_free_cores() -> None:
    """Let PyTorch have no more threads than there are idle cores, unless OMP_NUM_THREADS says how many."""
    if "OMP_NUM_THREADS" not in os.environ and torch.get_num_threads() > 1:
        torch.set_num_threads(min(torch.get_num_threads(), free_cores()))


def processes() -> int:
    """How many processes train one network together."""
    return dist.get_world_size() if dist.is_available() and dist.is_initialized() else 1


def described(device: torch.device) -> str:
    """A device in words, as "GPU NVIDIA H200, 140 GB" or "CPU AMD EPYC, 8 cores, 6 threads"."""
    if device.type == "cuda":
        found = torch.cuda.get_device_properties(device)
        return f"GPU {found.name}, {found.total_memory / 1e9:.0f} GB"
    if device.type != "cpu":
        return f"{device.type.upper()} of {platform.machine()}"
    cores, threads = os.cpu_count() or 1, torch.get_num_threads()
    why = ""
    if "OMP_NUM_THREADS" in os.environ:
        why = " (OMP_NUM_THREADS)"
    elif threads < cores:
        why = ", as many as cores are free; OMP_NUM_THREADS sets it"
    return f"CPU {_cpu_name()}, {_counted(cores, 'core')}, {_counted(threads, 'thread')}{why}"


def _cpu_name() -> str:
    try:
        (name, *_) = re.findall(r"model name\s*:\s*(.+)", Path("/proc/cpuinfo").read_text())
    except (OSError, ValueError):
        name = platform.processor() or platform.machine()
    return " ".join(name.split())


def _counted(count: int, what: str) -> str:
    return f"{count} {what}{'s' * (count != 1)}"
