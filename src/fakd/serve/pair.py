"""Student and teacher side by side: opened, asked, and compared."""

import statistics
import time
from collections.abc import Mapping, Sequence
from dataclasses import KW_ONLY, dataclass, fields, replace
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from fakd.console import say
from fakd.data import DATASETS
from fakd.data.class_names import Classes
from fakd.data.plain_yaml import read_yaml
from fakd.evaluation.ensembles import TeacherClassesConfig, as_one, teacher_names, teacher_title
from fakd.evaluation.inference import InferenceConfig
from fakd.evaluation.predictor import Device, Predictor, open_predictor
from fakd.evaluation.scores import class_frequencies
from fakd.models import Ensemble, Network, OnnxNetwork, open_any
from fakd.models.inference_copy import inference_copy
from fakd.models.merged_teacher import MergedTeacher
from fakd.models.names import NetworkName
from fakd.models.shipped import SHIPPED
from fakd.options import Size, Teachers


@dataclass
class PairConfig(InferenceConfig, TeacherClassesConfig):
    """A trained network, and its teacher."""

    model: str
    """Trained network: a run folder, a .safetensors file, a .pth checkpoint of MMSegmentation, mmseg:NAME, toy-scenes
    for the teacher that comes with the package, an .onnx file of `fakd export`, or one of another library, as
    torchvision:NAME, smp:FOLDER or hf:NAME."""
    teacher: Teachers | None = None
    """Network to compare with; by default the one that taught the run, or those that did."""
    _: KW_ONLY
    base_size: Size | None = None
    """Height and width in pixels that images are fitted into, aspect kept; by default as in training."""
    device: Device = "auto"
    """Where to compute."""


def open_pair(config: PairConfig) -> tuple[Predictor, Predictor | None]:
    """Open the student, and the teacher that is named, or else the one that the student's run folder names.

    Raises:
        FileNotFoundError: one of those that are named is not there. A teacher that only the run names may be gone: then
            there is none.
        ValueError: the two do not have the same classes, or a file is damaged.
    """
    student = open_predictor(config.model, config, config.base_size, config.device)
    run = Path(config.model) / "config.yaml"
    options = read_yaml(run) if run.is_file() else {}
    names = _teachers_of(run.parent, options) if config.teacher is None else teacher_names(config.teacher)
    if not names:
        return student, None
    told = config if config.teacher is not None or config.class_map is not None else _told_by(options)
    opened = [open_any(name) for name in names]
    notes = opened[0][1]
    ours = Classes.of_network(student.num_classes, student.notes)
    advice = "Name another by --teacher, or say by --class-map which of its classes belong together."
    model = as_one(names, opened, told, config.model, ours, advice)
    known = {key: student.notes[key] for key in ("classes", "palette") if key in student.notes}
    known = {**{key: value for key, value in notes.items() if key not in ("classes", "palette")}, **known}
    spec = DATASETS.get(notes.get("dataset", ""))
    window = None if spec is None else spec.window
    title = teacher_title(names)
    return student, Predictor.of(title, model, known, config, window, config.base_size, config.device)


def fast(network: Predictor) -> Predictor:
    """The same network, its answers up to rounding, sooner: see `inference_copy`."""
    model = network.model
    return replace(network, model=inference_copy(model)) if isinstance(model, Network) else network


def described(network: Predictor) -> str:
    """What it is, in a few words."""
    networks = network.model.networks if isinstance(network.model, Ensemble) else [network.model]
    plain = [one.network if isinstance(one, MergedTeacher) else one for one in networks]
    about = [_about(one) for one in plain]
    return f"{network.name}: {' and '.join(about)}"


def _about(model: nn.Module) -> str:
    if isinstance(model, OnnxNetwork):
        return f"an ONNX file of {model.path.stat().st_size / 1e6:.1f} MB"
    parameters = f"{sum(parameter.numel() for parameter in model.parameters()) / 1e6:.1f} M parameters"
    return f"{model.config.network}, {parameters}" if isinstance(model, Network) else f"scores alone, {parameters}"


def _teachers_of(folder: Path, options: Mapping[str, Any]) -> tuple[str, ...]:
    """Those that a run was taught by: where the run was told, or beside the run if both were moved."""
    places = {name: _place_of(name, folder) for name in teacher_names(options.get("teacher") or ())}
    if lost := [name for name, place in places.items() if place is None]:
        gone = ", ".join(lost)
        say(f"the teacher of {folder} is not at {gone} any more: the student is shown alone. Name it by --teacher.")
        return ()
    return tuple(place for place in places.values() if place is not None)


def _place_of(name: str, folder: Path) -> str | None:
    """Where a teacher is; None where its file is gone."""
    asked = NetworkName.parse(name)
    if asked.is_foreign or asked.kind in ("mmseg", "torchscript") or name in SHIPPED:
        return name
    places = [Path(name), folder.parent / Path(name).name, folder.parent.parent / Path(name).name]
    return next((str(place) for place in places if place.exists()), None)


def _told_by(options: Mapping[str, Any]) -> TeacherClassesConfig:
    """What a run was told of its teachers' classes."""
    return TeacherClassesConfig(**{item.name: options.get(item.name) or None for item in fields(TeacherClassesConfig)})


MOST_PASSES = 5
"""Timed passes of a network over an image."""
_TIMING_SECONDS = 4.0  # after which no other round of both is begun


@dataclass(frozen=True)
class Answer:
    """What one network says."""

    labels: Tensor
    """(H, W) uint8, at the image's own size."""
    shares: Tensor
    """(C,) each class's share of the pixels."""
    milliseconds: float
    """Median over the timed passes: the image, already in memory and fitted, to the class of every pixel."""
    passes: int
    """How many those were; the one before them, which is slower, is not among them."""


@dataclass(frozen=True)
class Comparison:
    """An image as the student sees it, and as the teacher does."""

    image: Tensor
    """(3, H, W) uint8 RGB."""
    student: Answer
    teacher: Answer | None = None

    @property
    def agreement(self) -> float | None:
        """Share of the pixels to which both give the same class; None without a teacher."""
        if self.teacher is None:
            return None
        return (self.student.labels == self.teacher.labels).double().mean().item()


def compare(image: Tensor, student: Predictor, teacher: Predictor | None = None) -> Comparison:
    """Ask both networks.

    Args:
        image: (3, H, W) uint8 RGB.
        student: asked first.
        teacher: of the same classes; None where there is none.
    """
    answers = ask(image, [student] if teacher is None else [student, teacher])
    return Comparison(image, *answers)


def ask(image: Tensor, networks: Sequence[Predictor]) -> list[Answer]:
    """Ask networks, and then again in turns until it is clear how long each takes, as `fakd benchmark` does.

    The first pass of each does not count: it lays out memory, and chooses how to compute images of this size.

    Args:
        image: (3, H, W) uint8 RGB.
        networks: on their devices.
    """
    size = image.shape[-2:]
    fitted = [network.fit(image).unsqueeze(0).to(network.device) for network in networks]
    labels = [network.labels(images, size)[0] for network, images in zip(networks, fitted, strict=True)]
    seconds: list[list[float]] = [[] for _ in networks]
    while not seconds[0] or (len(seconds[0]) < MOST_PASSES and sum(map(sum, seconds)) < _TIMING_SECONDS):
        for network, images, own in zip(networks, fitted, seconds, strict=True):
            start = time.perf_counter()
            network.labels(images, size)  # on the CPU at the end, so no device is still at work
            own.append(time.perf_counter() - start)
    return [
        Answer(found, class_frequencies(found, network.num_classes), statistics.median(own) * 1000, len(own))
        for network, found, own in zip(networks, labels, seconds, strict=True)
    ]
