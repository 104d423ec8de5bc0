"""The networks whose masks are shown: one of each group, and their teachers."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

from fakd.analysis.groups import UNREADABLE, Group
from fakd.analysis.run_options import run_inference
from fakd.analysis.runs import Run, missing_teacher, teacher_places
from fakd.data import DatasetSpec
from fakd.data.class_map import Groups
from fakd.data.spec import check_num_classes
from fakd.data.transforms import EvalTransform
from fakd.evaluation import Inference
from fakd.models import Network, open_model
from fakd.models.inference_copy import inference_copy
from fakd.models.merged_teacher import MergedTeacher
from fakd.models.mmseg.published import PREFIX
from fakd.training.run_folder import RunFolder
from fakd.training.teacher_options import TeacherClassesConfig


@dataclass(frozen=True)
class Layer:
    """Masks of one origin."""

    label: str
    kind: str
    """student, teacher or truth."""
    run: str = ""
    """Folder of the run whose network made them."""


@dataclass(frozen=True)
class Asked:
    """A trained network, and how it is asked."""

    layer: Layer
    model: Network | MergedTeacher
    fit: EvalTransform
    inference: Inference


def open_networks(
    groups: Sequence[Group], teachers: Mapping[str, Run | None], spec: DatasetSpec, device: torch.device
) -> tuple[list[Asked], list[str]]:
    """Load the network of each group's first seed, and the teachers that are not among the groups.

    Args:
        groups: of finished runs.
        teachers: by folder of a run, the run of its teacher where that is at hand.
        spec: of the data set.
        device: where to predict.

    Returns:
        The networks that could be read, and a note on each that could not.
    """
    networks, notes = [], []
    wanted = [
        (Layer(group.label, "teacher" if group.is_teacher else "student", str(group.runs[0].folder)), group.runs[0])
        for group in groups
    ]
    sources: list[tuple[Layer, Run, str | Path]] = [(layer, run, run.folder) for layer, run in wanted]
    outside = {
        str(run.config["teacher"]): run
        for _, run in wanted
        if "teacher" in run.config and teachers.get(str(run.folder)) is None
    }
    for name, run in outside.items():
        label = "teacher" if len(outside) == 1 else f"teacher {name}"
        sources.insert(0, (Layer(label, "teacher", name), run, _teacher_source(run)))
    for layer, run, place in sources:
        try:
            model, known = open_model(place)
            merged = _class_groups(run, spec, model, known) if layer.kind == "teacher" else None
            if merged is None:
                check_num_classes("it", model.num_classes, spec.name, spec.num_classes)
        except UNREADABLE as error:
            instead = "; the truth is shown in its place" if layer.kind == "teacher" else ""
            notes.append(f"the network of {layer.label} ({place}) could not be read{instead}: {error}")
            continue
        size = json.loads(known["base_size"]) if "base_size" in known else run.config.get("base_size") or spec.base_size
        copy = inference_copy(model)
        network = (copy if merged is None else MergedTeacher(copy, merged)).to(device)
        networks.append(
            Asked(layer, network, EvalTransform((size[0], size[1])), run_inference(run.config).inference(spec.window))
        )
    return networks, notes


def _class_groups(run: Run, spec: DatasetSpec, model: Network, notes: Mapping[str, str]) -> Groups | None:
    """Which of the teacher's classes belong to each of the run's, where it was told."""
    given = {name: run.config[name] for name in ("class_map", "teacher_classes") if run.config.get(name)}
    options = TeacherClassesConfig(**given)
    options.check_class_map()
    return options.class_groups(spec.classes, model.num_classes, notes)


def _teacher_source(run: Run) -> str | Path:
    name = str(run.config["teacher"])
    if name.startswith(PREFIX) or missing_teacher(run):
        return name
    return next(path for path in teacher_places(run) if path.is_file() or RunFolder(path).student.is_file())
