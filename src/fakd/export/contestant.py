"""Networks that are timed, in turns, so that a machine's moods hit all alike."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter

import torch
from torch import Tensor

from fakd.models import create_model
from fakd.models.by_name import names_trained_model, open_any
from fakd.models.cost import inference_cost
from fakd.models.inference_copy import inference_copy
from fakd.models.network import RUN_FILE, Network, network_of
from fakd.models.onnx import SUFFIX, OnnxNetwork
from fakd.types import SegmentationOutput


@dataclass(frozen=True)
class Contestant:
    """A network that is ready to predict."""

    name: str
    network: Network | OnnxNetwork
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

    def predict(self, images: Tensor) -> Tensor:
        """Return the scores or labels of float images (B, 3, H, W), as the network gives them."""
        if isinstance(self.network, OnnxNetwork):
            return self.network.answer(images)
        with torch.inference_mode():
            output: SegmentationOutput = self.network(images)
        return output.logits

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


def open_contestant(name: str, num_classes: int, device: torch.device) -> Contestant:
    """Open a trained network, or make one with random weights where `name` is a preset or HEAD/BACKBONE.

    Raises:
        FileNotFoundError: there is no such file.
        ModuleNotFoundError: it is an ONNX file, and onnxruntime is not installed.
        ValueError: no network has that name, the file is damaged, or an ONNX file is to run elsewhere than on the CPU.
    """
    path = Path(name)
    if path.suffix != SUFFIX and not names_trained_model(name):
        made = create_model(name, num_classes=num_classes)
        return Contestant(name, inference_copy(made.to(device)), made.config.to_json(), None)
    network, notes = open_any(name)
    file = path / RUN_FILE if path.is_dir() else path
    size = file.stat().st_size if file.is_file() else None  # mmseg:NAME is no path
    if not isinstance(network, OnnxNetwork):
        return Contestant(name, inference_copy(network.to(device)), network.config.to_json(), size)
    if device.type != "cpu":
        raise ValueError(f"{name} runs on the CPU: leave out --device, or leave out the file.")
    return Contestant(name, network, notes.get("architecture"), size)


Call = Callable[[], object]


def take_turns(
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
