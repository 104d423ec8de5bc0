"""A trained network, opened and ready to be asked about images."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import torch
from torch import Tensor

from fakd.data.palette import Palette
from fakd.data.spec import SlidingWindow
from fakd.evaluation.inference import Inference, predict_logits
from fakd.evaluation.inference_config import InferenceConfig
from fakd.evaluation.model_notes import base_size_in, classes_in, palette_in, window_in
from fakd.models import AnySegmentor
from fakd.models.mapped import MappedTeacher
from fakd.models.onnx import OnnxNetwork
from fakd.models.opening import open_predictor

Device = Literal["auto", "cpu", "cuda", "mps"]


@dataclass(frozen=True)
class Network:
    """A trained network and how it is asked."""

    name: str
    """What the user calls it."""
    model: AnySegmentor | OnnxNetwork | MappedTeacher
    classes: tuple[str, ...]
    palette: Palette
    base_size: tuple[int, int] | None
    """Height and width that images are fitted into; None shows them at their own size."""
    inference: Inference
    device: torch.device

    @property
    def num_classes(self) -> int:
        """C."""
        return self.model.num_classes

    def labels(self, images: Tensor, size: Sequence[int]) -> Tensor:
        """Decide the class of every pixel.

        Args:
            images: (B, 3, h, w) uint8 RGB, fitted into the base size.
            size: (height, width) of the result.

        Returns:
            (B, height, width) uint8 on the CPU.
        """
        logits = predict_logits(self.model, images.to(self.device), size, self.inference)
        return logits.argmax(1).to("cpu", torch.uint8)


def open_network(
    name: str | Path, config: InferenceConfig, base_size: tuple[int, int] | None = None, device: Device = "auto"
) -> Network:
    """Open a trained network and read what its file says about its classes and sizes.

    Args:
        name: as for `fakd.models.opening.open_predictor`.
        config: how it is asked; by default as its data set's benchmark does.
        base_size: (height, width) that images are fitted into; by default as in training.
        device: where to compute; ONNX files run on the CPU.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: the file is damaged, or an option does not go with it.
        ModuleNotFoundError: onnxruntime is not installed.
    """
    model, notes = open_predictor(name)
    found = pick_device("cpu" if isinstance(model, OnnxNetwork) and device == "auto" else device)
    return Network(
        str(name),
        model.to(found),
        classes_in(notes, str(name), model.num_classes),
        palette_in(notes, str(name), model.num_classes),
        base_size or base_size_in(notes, str(name)),
        inference_for(model, config, window_in(notes)),
        found,
    )


def inference_for(
    model: AnySegmentor | OnnxNetwork, config: InferenceConfig, window: SlidingWindow | None
) -> Inference:
    """How a network is asked, see `InferenceConfig.inference`.

    Raises:
        ValueError: the options contradict each other; or they ask for an average of the scores of a file that has none.
    """
    if not (isinstance(model, OnnxNetwork) and model.gives_labels):
        return config.inference(window)
    inference = config.inference(None)
    if inference.window or inference.views > 1:
        raise ValueError(
            f"{model.path} gives labels and no scores, which windows, --flip and --scales average. Export it again "
            "with scores, or leave those options out."
        )
    return inference


def pick_device(name: Device) -> torch.device:
    """The device of that name; "auto" takes the accelerator where there is one."""
    accelerator = torch.accelerator.current_accelerator() if torch.accelerator.is_available() else None
    found = accelerator or torch.device("cpu")
    if name not in ("auto", "cpu", found.type):
        raise ValueError(f"device {name!r} is not there, or this PyTorch is built without it; found {found.type!r}.")
    return found if name == "auto" else torch.device(name)
