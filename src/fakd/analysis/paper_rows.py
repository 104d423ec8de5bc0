"""The rows of the paper's tables: the command line that reproduces each, and which of them a group of runs repeats."""

import csv
import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any

from fakd.analysis.groups import Group
from fakd.analysis.run_options import method_defaults
from fakd.analysis.runs import Run, teacher_places
from fakd.data.plain_yaml import read_yaml
from fakd.evaluation.ensembles import teacher_names
from fakd.methods import METHODS
from fakd.models.mmseg.published import PREFIX, find_teacher, published_teachers
from fakd.models.shipped import SHIPPED
from fakd.training.run_folder import RunFolder

TEACHER = "teacher"
"""The method of rows that give the teacher's own scores."""
_SCRATCH = "-scratch"
_DATASETS: Mapping[str, str] = {
    "ADE20K": "ade20k",
    "Pascal Context": "pascal-context",
    "Cityscapes": "cityscapes",
    "Pascal VOC": "voc2012",
}
_PROTOCOL = ("--photometric", "--ce-average", "all")
"""What MMSegmentation's training, and so the paper's, does beyond the defaults of `fakd distill`."""
# Trained at 769x769: MMSegmentation's configurations of that size, and so its published scores, slide a window.
_TEACHER_WINDOWS: Mapping[str, tuple[str, ...]] = {
    "isanet_r101-d8_4xb2-80k_cityscapes-769x769": ("--window", "769,769", "--stride", "513,513"),
}


@dataclass(frozen=True)
class PaperRow:
    """One row of a table, and what repeats it."""

    table: int
    dataset: str
    """Name of the data set on the command line."""
    teacher: str
    """Name of the teacher's architecture."""
    student: str
    scratch: bool
    """Whether the student's encoder starts from random weights rather than ImageNet's."""
    method: str
    """Name of the method on the command line, or "teacher"."""
    strength: float | None
    """FAKD's lambda where the row is about it."""
    mIoU: float
    """Published, in percent."""
    mAcc: float
    """Published, in percent."""

    @property
    def available(self) -> bool:
        """Whether this version has the method."""
        return self.method == TEACHER or self.method in METHODS

    @property
    def heading(self) -> str:
        """The part of the table that the row stands in."""
        start = ", encoder from random weights" if self.scratch else ""
        return f"Table {self.table}, {self.dataset}: {self.teacher} > {self.student}{start}"

    @property
    def label(self) -> str:
        """The method, with lambda where the row is about it."""
        return self.method if self.strength is None else f"{self.method} lambda={self.strength}"

    def command(self, data_root: str = "DIR") -> str:
        """The command line; the data set's own sizes and learning rate are the paper's.

        Args:
            data_root: folder of the data set.
        """
        name = _published_name(self.dataset, self.teacher)
        data = ("--dataset", self.dataset, "--data-root", data_root)
        if self.method == TEACHER:
            return shlex.join(["fakd", "evaluate", PREFIX + name, *data, *_TEACHER_WINDOWS.get(name, ())])
        distill = ["fakd", "distill", *data, "--teacher", PREFIX + name]
        distill += ["--student", self.student, "--method", self.method]
        distill += _PROTOCOL
        if not self.scratch:
            distill += ["--backbone-weights", "imagenet"]
        if self.method == "fakd":
            distill += ["--options.reference", "none"]
        default = method_defaults(self.method).get("strength")
        changed = "" if self.strength in (None, default) else str(self.strength)
        if changed:
            distill += ["--options.strength", changed]
        # The default folder is named after student and method alone: runs that differ in more would share it.
        if details := [*["scratch"] * self.scratch, *[f"strength{changed}"] * bool(changed)]:
            distill += ["--output", "/".join(["runs", self.dataset, "-".join([self.student, self.method, *details])])]
        return shlex.join(distill)


@cache
def paper_rows() -> tuple[PaperRow, ...]:
    """Every row of Tables 1 to 5, in the paper's order."""
    text = files("fakd.analysis").joinpath("paper_results.csv").read_text(encoding="utf-8")
    return tuple(_row(values) for values in csv.DictReader(text.splitlines()))


def _row(values: Mapping[str, str]) -> PaperRow:
    teacher, student = values["pair"].split(">")
    method, _, strength = values["method"].partition(" lambda=")
    return PaperRow(
        table=int(values["table"]),
        dataset=_DATASETS[values["dataset"]],
        teacher=teacher,
        student=student.removesuffix(_SCRATCH),
        scratch=student.endswith(_SCRATCH),
        method="none" if method == "student" else method,
        strength=float(strength) if strength else None,
        mIoU=float(values["mIoU"]),
        mAcc=float(values["mAcc"]),
    )


def _published_name(dataset: str, network: str) -> str:
    """MMSegmentation's name of a teacher."""
    for teacher in published_teachers().values():
        if teacher.network == network and teacher.dataset == dataset:
            return teacher.name
    raise LookupError(f"no published teacher {network} for {dataset}")


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
        options: what is changed of the method's defaults, which are the paper's where it names a value. FAKD's
            reference may be any: either is the method that the row is about.
    """
    defaults = method_defaults(method)
    changed = {name: value for name, value in options.items() if value != defaults.get(name)}
    strength = changed.pop("strength", defaults.get("strength"))
    changed.pop("reference", None)
    if changed:
        return None
    for row in paper_rows():
        theirs = row.strength if row.strength is not None else defaults.get("strength")
        same = (row.dataset, row.student, row.scratch, row.method) == (dataset, student, scratch, method)
        # the student alone has no teacher: any pair's row is about it
        if same and theirs == strength and (row.teacher == teacher or method == "none"):
            return row
    return None


def published_teacher(dataset: str, teacher: str | None) -> PaperRow | None:
    """The row with a teacher's own scores, if the paper has it."""
    rows = (row for row in paper_rows() if row.method == TEACHER)
    return next((row for row in rows if (row.dataset, row.teacher) == (dataset, teacher)), None)


def group_row(group: Group, teacher: Run | None = None) -> PaperRow | None:
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
    """Architecture of a run's teacher, or of several with a plus in between; None if nothing is left that says it.

    Args:
        run: of `fakd distill`.
        teacher: the run that taught it, where that is at hand.
    """
    if teacher is not None:
        return _network(teacher.config)
    found = [_network_of(run, name) for name in teacher_names(run.config["teacher"])]
    return " + ".join(network for network in found if network) if all(found) else None


def _network_of(run: Run, name: str) -> str | None:
    """Architecture of one of a run's teachers."""
    places = [name] if name.startswith(PREFIX) else [str(path) for path in teacher_places(run, name)]
    return next((network for place in places if (network := teacher_network(place)) is not None), None)


def teacher_network(name: str) -> str | None:
    """Architecture of a teacher; None if nothing says it.

    Args:
        name: a run folder, a file, mmseg:NAME, or one that comes with the package.
    """
    if name.startswith(PREFIX):
        try:
            return find_teacher(name).network
        except ValueError:  # a name that this version does not know
            return None
    if name in SHIPPED:
        return SHIPPED[name]
    config = RunFolder(Path(name)).config
    if not config.is_file():
        return None
    return _network(read_yaml(config))


def _network(config: Mapping[str, Any]) -> str | None:
    """What learnt in a run."""
    network = config.get("network") or config.get("student")
    return None if network is None else str(network)
