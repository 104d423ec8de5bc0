"""The networks whose masks are shown: one of each group, and their teachers."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from fakd.analysis.groups import UNREADABLE, Group
from fakd.analysis.run_options import run_inference
from fakd.analysis.runs import Run, missing_teacher, teacher_places
from fakd.data import DatasetSpec
from fakd.data.spec import check_num_classes
from fakd.evaluation.predictor import Predictor, base_size_in
from fakd.models import open_model
from fakd.models.inference_copy import inference_copy
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


def open_networks(
    groups: Sequence[Group], teachers: Mapping[str, Run | None], spec: DatasetSpec, device: torch.device
) -> tuple[list[tuple[Layer, Predictor]], list[str]]:
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
            network = _opened(layer, run, place, spec, device)
            check_num_classes("it", network.num_classes, spec.name, spec.num_classes)
        except UNREADABLE as error:
            instead = "; the truth is shown in its place" if layer.kind == "teacher" else ""
            notes.append(f"the network of {layer.label} ({place}) could not be read{instead}: {error}")
        else:
            networks.append((layer, network))
    return networks, notes


def _opened(layer: Layer, run: Run, place: str | Path, spec: DatasetSpec, device: torch.device) -> Predictor:
    """A network, asked as the run was evaluated; a teacher's classes are merged where the run was told how."""
    model, known = open_model(place)
    base_size: Any = base_size_in(known, str(place)) or tuple(run.config.get("base_size") or spec.base_size)
    asked = run_inference(run.config)
    network = Predictor.of(layer.label, inference_copy(model), known, asked, spec.window, base_size, device)
    if layer.kind != "teacher":
        return network
    told = {name: run.config[name] for name in ("class_map", "teacher_classes") if run.config.get(name)}
    options = TeacherClassesConfig(**told)
    options.check_class_map()
    return network.merged(options.class_groups(spec.classes, model.num_classes, known), spec.classes, spec.palette)


def _teacher_source(run: Run) -> str | Path:
    name = str(run.config["teacher"])
    if name.startswith(PREFIX) or missing_teacher(run):
        return name
    return next(path for path in teacher_places(run) if path.is_file() or RunFolder(path).student.is_file())
