"""The networks whose masks are shown: one of each group, and their teachers."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any

import torch

from fakd.analysis.groups import UNREADABLE, Group
from fakd.analysis.run_options import run_inference
from fakd.analysis.runs import Run, teacher_places
from fakd.data import DatasetSpec
from fakd.data.class_names import Classes
from fakd.evaluation.ensembles import TeacherClassesConfig, as_one, teacher_names, teacher_title
from fakd.evaluation.predictor import Predictor, base_size_in
from fakd.models import Network, open_any
from fakd.models.inference_copy import inference_copy
from fakd.training.run_folder import RunFolder


@dataclass(frozen=True)
class Layer:
    """Masks of one origin."""

    label: str
    kind: str
    """student, teacher or truth."""


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
    firsts = [group.runs[0] for group in groups]
    sources = [
        (Layer(group.label, "teacher" if group.is_teacher else "student"), run, [str(run.folder)])
        for group, run in zip(groups, firsts, strict=True)
    ]
    outside = {
        teacher_title(run.config["teacher"]): run
        for run in firsts
        if "teacher" in run.config and teachers.get(str(run.folder)) is None
    }
    for name, run in outside.items():
        label = "teacher" if len(outside) == 1 else f"teacher {name}"
        places = [_place_of(run, teacher) for teacher in teacher_names(run.config["teacher"])]
        sources.insert(0, (Layer(label, "teacher"), run, places))
    for layer, run, places in sources:
        try:
            network = _opened(layer, run, places, spec, device)
        except UNREADABLE as error:
            instead = "; the truth is shown in its place" if layer.kind == "teacher" else ""
            notes.append(f"the network of {layer.label} ({teacher_title(places)}) could not be read{instead}: {error}")
        else:
            networks.append((layer, network))
    return networks, notes


def _opened(layer: Layer, run: Run, places: Sequence[str], spec: DatasetSpec, device: torch.device) -> Predictor:
    """A network, or several teachers as one, asked as the run was evaluated, and brought to the data set's classes."""
    opened = [open_any(place) for place in places]
    known = opened[0][1]
    base_size: Any = base_size_in(known, places[0]) or tuple(run.config.get("base_size") or spec.base_size)
    names = [item.name for item in fields(TeacherClassesConfig) if places != [str(run.folder)]]
    options = TeacherClassesConfig(**{name: run.config.get(name) for name in names})
    fast = [(inference_copy(model) if isinstance(model, Network) else model, notes) for model, notes in opened]
    model = as_one(["it"] * len(places), fast, options, spec.name, Classes.of_dataset(spec))
    asked = run_inference(run.config)
    return Predictor.of(layer.label, model, {**known, **spec.notes()}, asked, spec.window, base_size, device)


def _place_of(run: Run, name: str) -> str:
    """Where one of a run's teachers lies; its name where it is no path, or the file is gone."""
    found = (path for path in teacher_places(run, name) if path.is_file() or RunFolder(path).student.is_file())
    return str(next(found, name))
