"""The row of the paper's tables that a run or a row of a comparison repeats."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from fakd.analysis.groups import Group, teacher_places
from fakd.analysis.paper_rows import TEACHER, PaperRow, paper_rows
from fakd.analysis.runs import Run
from fakd.data.plain_yaml import read_yaml
from fakd.methods import METHODS, method_options
from fakd.models.mmseg.published import PREFIX, find_teacher
from fakd.training.run_folder import RunFolder


def published_student(
    dataset: str, teacher: str | None, student: str, scratch: bool, method: str, options: Mapping[str, Any]
) -> PaperRow | None:
    """The row with the same data set, networks, start, method and options, if the paper has it.

    Args:
        dataset: name on the command line.
        teacher: architecture of the teacher; None if it is not known.
        student: architecture of the student.
        scratch: whether the student's encoder started from random weights.
        method: name on the command line.
        options: what is changed of the method's defaults, which are the paper's where it names a value.
    """
    changed = {name: value for name, value in options.items() if value != _default(method, name)}
    strength = changed.pop("strength", _default(method, "strength"))
    if changed:
        return None
    for row in paper_rows():
        theirs = row.strength if row.strength is not None else _default(row.method, "strength")
        same = (row.dataset, row.student, row.scratch, row.method) == (dataset, student, scratch, method)
        # the student alone has no teacher: any pair's row is about it
        if same and theirs == strength and (row.teacher == teacher or method == "none"):
            return row
    return None


def published_teacher(dataset: str, teacher: str | None) -> PaperRow | None:
    """The row with a teacher's own scores, if the paper has it."""
    rows = (row for row in paper_rows() if row.method == TEACHER)
    return next((row for row in rows if (row.dataset, row.teacher) == (dataset, teacher)), None)


def group_row(group: Group, teacher: Run | None) -> PaperRow | None:
    """The row that a group of runs repeats, if the paper has it.

    Args:
        group: of finished runs.
        teacher: the run that taught it, where that is at hand.
    """
    options = group.options
    if group.method is None:
        return published_teacher(options["dataset"], group.network) if group.is_teacher else None
    network = run_teacher_network(group.runs[0], teacher)
    scratch = options.get("backbone_weights") is None
    return published_student(
        options["dataset"], network, group.network, scratch, group.method, options["options"] or {}
    )


def run_teacher_network(run: Run, teacher: Run | None) -> str | None:
    """Architecture of a run's teacher; None if nothing is left that says it.

    Args:
        run: of `fakd distill`.
        teacher: the run that taught it, where that is at hand.
    """
    if teacher is not None:
        return _network(teacher.config)
    name = str(run.config["teacher"])
    if name.startswith(PREFIX):
        try:
            return teacher_network(name)
        except ValueError:  # a name that this version does not know
            return None
    return next((found for path in teacher_places(run) if (found := teacher_network(str(path))) is not None), None)


def teacher_network(name: str) -> str | None:
    """Architecture of a teacher; None if nothing says it.

    Args:
        name: a run folder, a file, or mmseg:NAME.
    """
    if name.startswith(PREFIX):
        return find_teacher(name).network
    config = RunFolder(Path(name)).config
    if not config.is_file():
        return None
    return _network(read_yaml(config))


def _network(config: Mapping[str, Any]) -> str | None:
    """What learnt in a run."""
    network = config.get("network") or config.get("student")
    return None if network is None else str(network)


def _default(method: str, option: str) -> Any:
    known = method_options(method) if method in METHODS else {}
    return known[option].default if option in known else None
