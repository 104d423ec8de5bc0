"""Student and teacher side by side: opened, asked, and compared."""

import statistics
import time
from collections.abc import Mapping
from dataclasses import KW_ONLY, dataclass
from pathlib import Path
from typing import Any

from torch import Tensor

from fakd.console import say
from fakd.data.plain_yaml import read_yaml
from fakd.data.spec import check_num_classes
from fakd.evaluation.inference import InferenceConfig
from fakd.evaluation.predictor import Device, Predictor, open_predictor
from fakd.evaluation.scores import class_frequencies
from fakd.models import Network
from fakd.models.by_name import is_foreign
from fakd.models.merged_teacher import MergedTeacher
from fakd.models.mmseg.published import PREFIX
from fakd.models.shipped import SHIPPED
from fakd.options import Size
from fakd.training.teacher_options import TeacherClassesConfig


@dataclass
class PairConfig(InferenceConfig, TeacherClassesConfig):
    """A trained network, and its teacher."""

    model: str
    """Trained network: a run folder, a .safetensors file, a .pth checkpoint of MMSegmentation, mmseg:NAME, toy-scenes
    for the teacher that comes with the package, an .onnx file of `fakd export`, or one of another library, as
    torchvision:NAME, smp:FOLDER or hf:FOLDER."""
    teacher: str | None = None
    """Network to compare with; by default the one that taught the run."""
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
    name = config.teacher if config.teacher is not None else _teacher_of(run.parent, options)
    if name is None:
        return student, None
    teacher = open_predictor(name, config, config.base_size, config.device)
    classes = config if config.teacher is not None or config.class_map is not None else _class_map_of(options)
    classes.check_class_map()
    groups = classes.class_groups(student.classes, teacher.num_classes, teacher.notes)
    teacher = teacher.merged(groups, student.classes, student.palette)
    advice = "Name another by --teacher, or say by --class-map which of its classes belong together."
    check_num_classes(config.model, student.num_classes, f"its teacher {name}", teacher.num_classes, advice)
    return student, teacher


def described(network: Predictor) -> str:
    """What it is, in a few words."""
    model = network.model.network if isinstance(network.model, MergedTeacher) else network.model
    if not isinstance(model, Network):
        return f"{network.name}: an ONNX file of {Path(network.name).stat().st_size / 1e6:.1f} MB"
    parameters = sum(parameter.numel() for parameter in model.parameters())
    return f"{network.name}: {model.config.network}, {parameters / 1e6:.1f} M parameters"


def _teacher_of(folder: Path, options: Mapping[str, Any]) -> str | None:
    """The one that a run was taught by: where the run was told, or beside the run if both were moved."""
    name = options.get("teacher")
    if name is None or is_foreign(name) or str(name).startswith(PREFIX) or str(name) in SHIPPED:
        return name and str(name)
    places = [Path(name), folder.parent / Path(name).name, folder.parent.parent / Path(name).name]
    found = next((str(place) for place in places if place.exists()), None)
    if found is None:
        say(f"the teacher of {folder} is not at {name} any more: the student is shown alone. Name it by --teacher.")
    return found


def _class_map_of(options: Mapping[str, Any]) -> TeacherClassesConfig:
    return TeacherClassesConfig(
        class_map=options.get("class_map") or None, teacher_classes=options.get("teacher_classes") or None
    )


MOST_PASSES = 5
"""Timed passes of a network over an image."""
_TIMING_SECONDS = 2.0  # after which no other is begun


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
        return None if self.teacher is None else agreement(self.student.labels, self.teacher.labels)


def compare(image: Tensor, student: Predictor, teacher: Predictor | None = None) -> Comparison:
    """Ask both networks, one after the other.

    Args:
        image: (3, H, W) uint8 RGB.
        student: asked first.
        teacher: of the same classes; None where there is none.
    """
    return Comparison(image, ask(image, student), None if teacher is None else ask(image, teacher))


def ask(image: Tensor, network: Predictor) -> Answer:
    """Ask one network, and then again until it is clear how long it takes.

    Args:
        image: (3, H, W) uint8 RGB.
        network: on its device.
    """
    images, size = network.fit(image).unsqueeze(0).to(network.device), image.shape[-2:]
    labels = network.labels(images, size)[0]
    seconds: list[float] = []
    while not seconds or (len(seconds) < MOST_PASSES and sum(seconds) < _TIMING_SECONDS):
        start = time.perf_counter()
        network.labels(images, size)  # on the CPU at the end, so no device is still at work
        seconds.append(time.perf_counter() - start)
    return Answer(
        labels, class_frequencies(labels, network.num_classes), statistics.median(seconds) * 1000, len(seconds)
    )


def agreement(student_labels: Tensor, teacher_labels: Tensor) -> float:
    """Compute the share of pixels with the same class in both.

    Args:
        student_labels: (H, W) class indices.
        teacher_labels: (H, W) class indices.

    Returns:
        0 to 1.

    Raises:
        ValueError: the sizes differ.

    Example:
        >>> import torch
        >>> agreement(torch.tensor([[0, 1], [2, 2]]), torch.tensor([[0, 1], [2, 3]]))
        0.75
    """
    if student_labels.shape != teacher_labels.shape:
        raise ValueError(
            f"masks of {tuple(student_labels.shape)} and {tuple(teacher_labels.shape)} pixels, expected one size."
        )
    return (student_labels == teacher_labels).double().mean().item()
