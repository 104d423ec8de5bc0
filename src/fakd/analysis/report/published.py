"""Which row of the paper's tables a run repeats."""

from collections.abc import Mapping, Sequence
from typing import Any

import yaml

from fakd.analysis.report.groups import ALONE, Group, changed_options, teacher_places
from fakd.analysis.runs import Run
from fakd.methods import METHODS, method_options
from fakd.models.zoo import PREFIX, find_teacher
from fakd.training.folder import RunFolder
from fakd.training.paper import TEACHER, PaperRow, paper_rows


def paper_row(group: Group, teacher: Run | None) -> PaperRow | None:
    """The row of the paper with the group's data set, networks, start of the encoder and method; None if none has them.

    Args:
        group: of finished runs.
        teacher: the run that taught it, where that is at hand.
    """
    options = group.options
    if group.method is None:
        return teacher_row(options["dataset"], group.network) if group.is_teacher else None
    network = teacher_network(group.runs[0], teacher)
    changed = changed_options(options)
    strength = changed.pop("strength", None) or _default_strength(group.method)
    if changed:
        return None
    rows = [
        row
        for row in _rows(options, network)
        if row.method == group.method and (row.strength or _default_strength(row.method)) == strength
    ]
    # The student alone does not depend on its teacher.
    if not rows and group.method == ALONE:
        rows = [row for row in _rows(options, None) if row.method == ALONE]
    return rows[0] if rows else None


def teacher_row(dataset: str, network: str | None) -> PaperRow | None:
    """The row that gives a teacher's own scores."""
    rows = (row for row in paper_rows() if row.method == TEACHER)
    return next((row for row in rows if row.dataset == dataset and row.teacher == network), None)


def teacher_network(run: Run, teacher: Run | None) -> str | None:
    """Name of the architecture of a run's teacher; None if nothing is left that says it.

    Args:
        run: of `fakd distill`.
        teacher: the run that taught it, where that is at hand.
    """
    if teacher is not None:
        return str(teacher.config["network"]) if "network" in teacher.config else None
    name = str(run.config["teacher"])
    if name.startswith(PREFIX):
        try:
            return find_teacher(name).network
        except ValueError:  # a name that this version does not know
            return None
    for path in teacher_places(run):
        if (config := RunFolder(path).config).is_file():
            network = yaml.safe_load(config.read_text()).get("network")
            return None if network is None else str(network)
    return None


def _rows(options: Mapping[str, Any], teacher: str | None) -> Sequence[PaperRow]:
    """The rows of a student's networks and start; of any teacher if that is None."""
    return [
        row
        for row in paper_rows()
        if row.dataset == options["dataset"]
        and row.student == options["student"]
        and row.scratch == (options.get("backbone_weights") is None)
        and (teacher is None or row.teacher == teacher)
    ]


def _default_strength(method: str) -> float | None:
    options = method_options(method) if method in METHODS else {}
    return options["strength"].default if "strength" in options else None
