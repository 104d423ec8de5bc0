"""How long networks take, and how much memory: timed one after the other in every round, so that a machine's moods hit
all alike; and measured in a process of its own, for which this file is run as well as imported."""

import ctypes
import gc
import json
import os
import re
import resource
import subprocess
import sys
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter

import torch
from torch import Tensor

from fakd.models.by_name import create_model, open_any
from fakd.models.cost import inference_cost
from fakd.models.inference_copy import inference_copy
from fakd.models.names import NetworkName
from fakd.models.network import RUN_FILE, Network, Scorer, network_of
from fakd.models.onnx import OnnxNetwork, require_onnxruntime


@dataclass(frozen=True)
class TimedNetwork:
    """A network that is ready to predict."""

    name: str
    network: Scorer
    """On its device; a network of PyTorch as `inference_copy` makes it."""
    architecture: str | None
    """The JSON of its config; None where an ONNX file does not say it."""
    size: int | None
    """Bytes of its file; None for one that is made with random weights."""

    @property
    def runtime(self) -> str:
        """What computes."""
        if not isinstance(self.network, OnnxNetwork):
            return "PyTorch"
        return f"ONNX {self.network.notes.get('quantization', 'float32')}"

    @torch.inference_mode()
    def predict(self, images: Tensor) -> Tensor:
        """Return the scores or labels of float images (B, 3, H, W), as the network gives them."""
        return self.network.answer(images)

    def cost(self, image_size: tuple[int, int]) -> tuple[int, int] | None:
        """Learned numbers, and multiply-accumulates for one image; None where the architecture is not known.

        Those of the network before batch normalisations were folded and numbers rounded.
        """
        if self.architecture is None:
            return None
        try:
            return inference_cost(network_of(self.architecture), image_size)
        except ValueError:  # of another version
            return None


def open_timed(name: str, num_classes: int, device: torch.device) -> TimedNetwork:
    """Open a trained network, or make one with random weights where `name` is a preset or HEAD/BACKBONE.

    Raises:
        FileNotFoundError: there is no such file.
        ModuleNotFoundError: it is an ONNX file, and onnxruntime is not installed.
        ValueError: no network has that name, the file is damaged, or an ONNX file is to run elsewhere than on the CPU.
    """
    asked = NetworkName.parse(name)
    if not asked.trained:
        made = create_model(name, num_classes=num_classes)
        return TimedNetwork(name, inference_copy(made.to(device)), made.config.to_json(), None)
    network, notes = open_any(name)
    path = Path(asked.network)
    file = path / RUN_FILE if path.is_dir() else path
    size = file.stat().st_size if file.is_file() else None  # mmseg:NAME is no path
    if isinstance(network, Network):
        return TimedNetwork(name, inference_copy(network.to(device)), network.config.to_json(), size)
    if device.type != "cpu":
        raise ValueError(f"{name} runs on the CPU: leave out --device, or leave out the file.")
    return TimedNetwork(name, network, notes.get("architecture"), size)


Call = Callable[[], object]


def time_in_rounds(
    calls: Mapping[str, Call], rounds: int, device: torch.device, on_round: Callable[[], object] = lambda: None
) -> dict[str, list[float]]:
    """Return the seconds of each call, round by round, after one that does not count.

    Args:
        calls: by name.
        rounds: how often each is called.
        device: it is waited for.
        on_round: called after each round, to show progress.
    """
    for call in calls.values():
        call()
    times: dict[str, list[float]] = {name: [] for name in calls}
    for _ in range(rounds):
        for name, call in calls.items():
            times[name].append(_seconds(call, device))
        on_round()
    return times


def _seconds(call: Call, device: torch.device) -> float:
    _wait_for(device)
    start = perf_counter()
    call()
    _wait_for(device)
    return perf_counter() - start


def _wait_for(device: torch.device) -> None:
    if device.type != "cpu":
        torch.accelerator.synchronize(device)


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
    if NetworkName.parse(name).kind == "onnx":
        require_onnxruntime()
    gc.collect()
    before = _resident()
    network = open_timed(name, num_classes, device)
    _forget_the_most(device)
    for _ in range(PASSES):
        network.predict(images)
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
