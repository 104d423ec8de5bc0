"""How much memory a network takes, in a process of its own: this file is run as well as imported."""

import ctypes
import gc
import json
import os
import re
import resource
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import torch

from fakd.export.contestant import open_contestant
from fakd.models.onnx import SUFFIX, require_onnxruntime

PASSES = 3


def measure_footprint(
    name: str, num_classes: int, image_size: tuple[int, int], threads: int, device: torch.device
) -> int:
    """Return the most bytes that one network and one image take, in a new process that does nothing else.

    Weights, activations and what the runtime lays out beside them, while it predicts; neither what opening the file
    takes, where the system can tell them apart (Linux), nor PyTorch and onnxruntime themselves. On a GPU, the most that
    PyTorch's allocator holds.

    Raises:
        RuntimeError: the process failed; the message is its last line.
    """
    given = (name, num_classes, *image_size, threads, device)
    done = subprocess.run(
        [sys.executable, "-m", __name__, *map(str, given)],
        capture_output=True,
        text=True,
        env=os.environ | {"OMP_NUM_THREADS": str(threads)},
    )
    if done.returncode:
        raise RuntimeError(f"measuring the memory of {name} failed: {done.stderr.strip().splitlines()[-1:]}")
    size: int = json.loads(done.stdout.splitlines()[-1])
    return size


def _own_footprint(name: str, num_classes: int, image_size: tuple[int, int], device: torch.device) -> int:
    images = torch.rand(1, 3, *image_size).to(device)
    if Path(name).suffix == SUFFIX:
        require_onnxruntime()
    gc.collect()
    before = _resident()
    contestant = open_contestant(name, num_classes, device)
    _forget_the_most(device)
    for _ in range(PASSES):
        contestant.predict(images)
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated()
    return max(0, _most_resident() - before)


def _forget_the_most(device: torch.device) -> None:
    """Let the most that is held count from now on, and give back what is held no more."""
    gc.collect()
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats()
    with suppress(OSError, AttributeError):  # a system without glibc
        ctypes.CDLL(None).malloc_trim(0)
    with suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5")


def _resident() -> int:
    """Bytes that the process holds now; where the system does not say, the most that it ever held."""
    try:
        return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()
    except OSError:
        return _most_resident()


def _most_resident() -> int:
    try:
        # of this process alone; getrusage starts from what its parent held when it was started
        (kilobytes,) = re.findall(r"VmHWM:\s*(\d+) kB", Path("/proc/self/status").read_text())
        return int(kilobytes) * 1024
    except (OSError, ValueError):
        unit = 1 if sys.platform == "darwin" else 1024
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


if __name__ == "__main__":
    name, *numbers, device = sys.argv[1:]
    num_classes, height, width, threads = map(int, numbers)
    torch.set_num_threads(threads)
    print(_own_footprint(name, num_classes, (height, width), torch.device(device)))
