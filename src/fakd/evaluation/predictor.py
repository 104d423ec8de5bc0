"""A trained network, opened and ready to be asked: what its file says of classes, colours and sizes."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import torch
from rich.filesize import decimal
from torch import Tensor

from fakd.data import DATASETS
from fakd.data.bands import Bands, BandsConfig
from fakd.data.palette import Palette
from fakd.data.reading import MOST_PIXELS
from fakd.data.spec import SlidingWindow
from fakd.data.transforms import EvalTransform
from fakd.evaluation.inference import Inference, InferenceConfig, predict_logits
from fakd.functional import teacher_classes
from fakd.models import Scorer, open_any
from fakd.models.onnx import OnnxNetwork

Device = Literal["auto", "cpu", "cuda", "mps"]


@dataclass(frozen=True)
class Predictor:
    """A trained network and how it is asked."""

    name: str
    """What the user calls it."""
    model: Scorer
    notes: Mapping[str, str]
    """What its file says, as `fakd.models.open_any` gives it."""
    classes: tuple[str, ...]
    palette: Palette
    base_size: tuple[int, int] | None
    """Height and width that images are fitted into; None shows them at their own size."""
    inference: Inference
    device: torch.device
    bands: Bands = field(default_factory=Bands)
    """What it sees of TIFF files."""

    @classmethod
    def of(
        cls,
        name: str,
        model: Scorer,
        notes: Mapping[str, str],
        config: InferenceConfig,
        window: SlidingWindow | None,
        base_size: tuple[int, int] | None = None,
        device: Device | torch.device = "auto",
    ) -> "Predictor":
        """Make a network that is open already ready to be asked.

        Args:
            name: for errors.
            model: moved to the device.
            notes: what its file says of its classes and sizes.
            config: how it is asked.
            window: how the benchmark of its data set asks; None is about whole images.
            base_size: (height, width) that images are fitted into; by default as in training.
            device: where to compute; "auto" leaves ONNX files on the CPU.

        Raises:
            ValueError: what the file says is damaged, or the options do not go with the network.
        """
        if not isinstance(device, torch.device):
            device = pick_device("cpu" if isinstance(model, OnnxNetwork) and device == "auto" else device)
        return cls(
            name,
            model.to(device),
            notes,
            _classes(notes, name, model.num_classes),
            _palette(notes, name, model.num_classes),
            base_size or base_size_in(notes, name),
            _inference_for(name, model, config, window),
            device,
            _bands_for(name, model, notes, config),
        )

    @property
    def num_classes(self) -> int:
        """C."""
        return self.model.num_classes

    def fit(self, image: Tensor) -> Tensor:
        """Bring an image (3, H, W) to the size at which the network is shown it."""
        return image if self.base_size is None else EvalTransform(self.base_size).fit(image)

    def labels(self, images: Tensor, size: Sequence[int], confidence: float = 0.0) -> Tensor:
        """Decide the class of every pixel.

        Args:
            images: (B, 3, h, w) uint8 RGB, fitted into the base size.
            size: (height, width) of the result.
            confidence: the least probability that counts; 0 asks no network for any, as one that gives labels has none.

        Returns:
            (B, height, width) uint8 on the CPU; 255 where the network is less sure.
        """
        logits = predict_logits(self.model, images.to(self.device), size, self.inference)
        labels = teacher_classes(logits, confidence) if confidence else logits.argmax(1)
        return labels.to("cpu", torch.uint8)


def open_predictor(
    name: str | Path, config: InferenceConfig, base_size: tuple[int, int] | None = None, device: Device = "auto"
) -> Predictor:
    """Open a trained network and read what its file says about its classes and sizes.

    Args:
        name: as for `fakd.models.open_any`.
        config: how it is asked; by default as its data set's benchmark does.
        base_size: (height, width) that images are fitted into; by default as in training.
        device: where to compute; ONNX files run on the CPU.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: the file is damaged, or an option does not go with it.
        ModuleNotFoundError: onnxruntime is not installed.
    """
    model, notes = open_any(name)
    spec = DATASETS.get(notes.get("dataset", ""))
    window = None if spec is None else spec.window
    return Predictor.of(str(name), model, notes, config, window, base_size, device)


def _inference_for(name: str, model: Scorer, config: InferenceConfig, window: SlidingWindow | None) -> Inference:
    inference = config.inference(None if model.gives_labels else window)
    if model.gives_labels and (inference.window or inference.views > 1):
        raise ValueError(
            f"{name} gives labels and no scores, which windows, --flip and --scales average. Export it again "
            "with scores, or leave those options out."
        )
    return inference


def _bands_for(name: str, model: Scorer, notes: Mapping[str, str], config: InferenceConfig) -> Bands:
    bands = Bands.of_notes(notes, name)
    if isinstance(config, BandsConfig):
        bands = config.chosen_bands(bands)
    bands.check_channels(name, model.in_channels)
    return bands


def pick_device(name: Device) -> torch.device:
    """The device of that name; "auto" takes the accelerator where there is one."""
    accelerator = torch.accelerator.current_accelerator() if torch.accelerator.is_available() else None
    found = accelerator or torch.device("cpu")
    if name not in ("auto", "cpu", found.type):
        raise ValueError(f"device {name!r} is not there, or this PyTorch is built without it; found {found.type!r}.")
    return found if name == "auto" else torch.device(name)


def base_size_in(notes: Mapping[str, str], name: str) -> tuple[int, int] | None:
    """Return the height and width that images were fitted into, where the file says it.

    Args:
        notes: as `fakd.models.open_model` returns them.
        name: the network's, for the error.

    Raises:
        ValueError: it says something else.
    """
    match _read(notes, "base_size", name):
        case None:
            return None
        case [int(height), int(width)] if min(height, width) > 0 and height * width <= MOST_PIXELS:
            return height, width
        case wrong:
            raise ValueError(f"{name}: its base_size is {str(wrong)[:80]}, expected height and width in pixels.")


def _palette(notes: Mapping[str, str], name: str, num_classes: int) -> Palette:
    """Return the colours of the classes, or shades of grey where the file says none."""
    match _read(notes, "palette", name):
        case None:
            shades = [round(255 * (index + 1) / num_classes) for index in range(num_classes)]
            return [(shade, shade, shade) for shade in shades]
        case [*colours] if len(colours) == num_classes and all(map(_is_colour, colours)):
            return [(red, green, blue) for red, green, blue in colours]
        case wrong:
            raise ValueError(
                f"{name}: its palette is {str(wrong)[:80]}, expected three numbers from 0 to 255 for each of its "
                f"{num_classes} classes."
            )


def _classes(notes: Mapping[str, str], name: str, num_classes: int) -> tuple[str, ...]:
    """Return the names of the classes, or "class 0" and so on where the file says none."""
    match _read(notes, "classes", name):
        case None:
            return tuple(f"class {index}" for index in range(num_classes))
        case [*classes] if len(classes) == num_classes and all(isinstance(one, str) for one in classes):
            return tuple(classes)
        case wrong:
            raise ValueError(
                f"{name}: its classes are {str(wrong)[:80]}, expected a name for each of its {num_classes} classes."
            )


def _is_colour(given: Any) -> bool:
    return isinstance(given, list) and len(given) == 3 and all(type(part) is int and 0 <= part <= 255 for part in given)


def _read(notes: Mapping[str, str], key: str, name: str) -> Any:
    try:
        return json.loads(notes[key]) if key in notes else None
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{name}: its {key} is no JSON, but {notes[key][:80]!r}.") from error


MOST_SCORES = 8 << 30
"""Bytes of float32 scores of one image: 150 classes and 14 million pixels."""


def too_large(title: str, shape: Sequence[int], num_classes: int) -> str:
    """Say what is wrong with an image that is too large; "" where nothing is.

    Args:
        title: of the image, for the message.
        shape: (..., height, width) of the image, in pixels.
        num_classes: that are scored.
    """
    height, width = shape[-2:]
    if (scores := height * width * num_classes * 4) <= MOST_SCORES:
        return ""
    return (
        f"{title}: {width} x {height} pixels take {decimal(scores)} of scores for {num_classes} classes, expected "
        f"{decimal(MOST_SCORES)} at most. Scale it down, or cut it into parts."
    )
