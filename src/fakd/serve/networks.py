"""The student of a page, and the teacher beside it."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from fakd.console import say
from fakd.data.plain_yaml import read_yaml
from fakd.evaluation.inference_config import InferenceConfig
from fakd.evaluation.network import Device, Network, open_network
from fakd.models import ModelConfig
from fakd.models.foreign import is_foreign
from fakd.models.mapped import MappedTeacher
from fakd.models.onnx import OnnxNetwork
from fakd.models.zoo import PREFIX
from fakd.training.teacher_classes import TeacherClassesConfig


@dataclass
class PairConfig(InferenceConfig, TeacherClassesConfig):
    """A trained network, and its teacher."""

    model: str
    """Trained network: a run folder, a .safetensors file, a .pth checkpoint of MMSegmentation, mmseg:NAME, an .onnx
    file of `fakd export`, or one of another library, as torchvision:NAME, smp:FOLDER or hf:FOLDER."""
    teacher: str | None = None
    """Network to compare with; by default the one that taught the run."""
    base_size: tuple[int, int] | None = None
    """Height and width in pixels that images are fitted into, aspect kept; by default as in training."""
    device: Device = "auto"
    """Where to compute."""


def open_pair(config: PairConfig) -> tuple[Network, Network | None]:
    """Open the student, and the teacher that is named, or else the one that the student's run folder names.

    Raises:
        FileNotFoundError: one of those that are named is not there. A teacher that only the run names may be gone: then
            there is none.
        ValueError: the two do not have the same classes, or a file is damaged.
    """
    student = open_network(config.model, config, config.base_size, config.device)
    run = Path(config.model) / "config.yaml"
    options = read_yaml(run) if run.is_file() else {}
    name = config.teacher if config.teacher is not None else _teacher_of(run.parent, options)
    if name is None:
        return student, None
    teacher = open_network(name, config, config.base_size, config.device)
    classes = config if config.teacher is not None or config.class_map is not None else _class_map_of(options)
    classes.check_class_map()
    notes = {"classes": json.dumps(teacher.classes)}
    groups = classes.class_groups(student.classes, teacher.num_classes, notes)
    if groups is not None:
        if isinstance(teacher.model, OnnxNetwork | MappedTeacher):
            raise ValueError(f"the classes of {name} cannot be merged: name the checkpoint that it was exported from.")
        merged = MappedTeacher(teacher.model, groups)
        teacher = replace(teacher, model=merged, classes=student.classes, palette=student.palette)
    if teacher.num_classes != student.num_classes:
        raise ValueError(
            f"{config.model} scores {student.num_classes} classes, but its teacher {name} {teacher.num_classes}: name "
            "another by --teacher, or say by --class_map which of its classes belong together."
        )
    return student, teacher


def described(network: Network) -> str:
    """What it is, in a few words."""
    model = network.model.network if isinstance(network.model, MappedTeacher) else network.model
    if isinstance(model, OnnxNetwork):
        return f"{network.name}: an ONNX file of {model.path.stat().st_size / 1e6:.1f} MB"
    config = model.config
    what = f"{config.head}/{config.backbone}" if isinstance(config, ModelConfig) else f"{config.library}:{config.name}"
    parameters = sum(parameter.numel() for parameter in model.parameters())
    return f"{network.name}: {what}, {parameters / 1e6:.1f} M parameters"


def _teacher_of(folder: Path, options: Mapping[str, Any]) -> str | None:
    """The one that a run was taught by: where the run was told, or beside the run if both were moved."""
    name = options.get("teacher")
    if name is None or is_foreign(name) or str(name).startswith(PREFIX):
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
