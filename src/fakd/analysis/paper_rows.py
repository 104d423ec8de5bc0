"""The rows of the paper's tables, as the command lines that reproduce them."""

import csv
import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib.resources import files

from fakd.methods import METHODS, method_options
from fakd.models.mmseg.published import PREFIX, published_teachers

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
        if changed := self._changed_strength():
            distill += ["--options.strength", changed]
        # The default folder is named after student and method alone: runs that differ in more would share it.
        if details := [*["scratch"] * self.scratch, *[f"strength{changed}"] * bool(changed)]:
            distill += ["--output", "/".join(["runs", self.dataset, "-".join([self.student, self.method, *details])])]
        return shlex.join(distill)

    def _changed_strength(self) -> str:
        if self.strength is None or self.strength == method_options(self.method)["strength"].default:
            return ""
        return str(self.strength)


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
