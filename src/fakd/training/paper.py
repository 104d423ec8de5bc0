"""The command line behind every row of the paper's tables."""

import csv
import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from itertools import groupby
from pathlib import Path

from fakd.console import say
from fakd.methods import METHODS, method_options
from fakd.models.zoo import PREFIX, published_teachers
from fakd.writing import check_free, written_at_once

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


@dataclass
class PaperConfig:
    """List the command line behind every row of the paper's tables, beside the published scores."""

    table: int | None = None
    """Table of the paper, 1 to 5; by default all."""
    dataset: str | None = None
    """Data set: ade20k, pascal-context, cityscapes or voc2012; by default all."""
    student: str | None = None
    """Student network, as pspnet-r18; by default all."""
    method: str | None = None
    """Method, as fakd; "teacher" and "none" are the rows of the networks without distillation; by default all."""
    data_root: Path | None = None
    """Folder of the data set to write into the lines, in place of DIR; name the data set too."""
    output: Path | None = None
    """Shell script to write the lines to; run again after an interruption, it goes on where it stopped."""
    overwrite: bool = False
    """Replace that file if it exists."""


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


def paper(config: PaperConfig) -> list[PaperRow]:
    """Print the lines of the rows that are asked for, and write them as a script if asked.

    Raises:
        ValueError: the paper has no such row, or one data root is given for several data sets.
        FileExistsError: the script is there already.
    """
    if config.output is not None:
        check_free(config.output, config.overwrite)
    rows = _chosen(config)
    if config.data_root is not None and len({row.dataset for row in rows}) > 1:
        raise ValueError("data_root is the folder of one data set, but several are listed: give --dataset too.")
    data_root = str(config.data_root or "DIR")
    for heading, group in groupby(rows, key=lambda row: row.heading):
        say(f"\n{heading}", style="bold")
        say(f"{'mIoU':>6} {'mAcc':>6}  {'method':<15} command")
        for row in group:
            line = row.command(data_root) if row.available else f"method {row.method} is not in this version"
            say(f"{row.mIoU:6.2f} {row.mAcc:6.2f}  {row.label:<15} {line}", style=None if row.available else "dim")
    if config.output is not None:
        with written_at_once(config.output) as temporary:
            temporary.write_text(_script(rows, data_root), encoding="utf-8")
        say(f"\nwritten to {config.output}")
    return rows


@cache
def paper_rows() -> tuple[PaperRow, ...]:
    """Every row of Tables 1 to 5, in the paper's order."""
    text = files("fakd.training").joinpath("paper_results.csv").read_text(encoding="utf-8")
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


def _chosen(config: PaperConfig) -> list[PaperRow]:
    rows = list(paper_rows())
    for name in ("table", "dataset", "student", "method"):
        wanted = getattr(config, name)
        if wanted is None:
            continue
        there = list(dict.fromkeys(getattr(row, name) for row in rows))
        if wanted not in there:
            raise ValueError(
                f"the paper has no row with {name} {wanted!r}; choose one of {', '.join(map(str, there))}."
            )
        rows = [row for row in rows if getattr(row, name) == wanted]
    return rows


def _script(rows: list[PaperRow], data_root: str) -> str:
    """A shell script of the lines, which may be started again: what is finished is passed over."""
    lines = ["#!/bin/sh", "set -e"]
    for row in rows:
        lines += ["", f"# {row.heading}: {row.label}, published mIoU {row.mIoU:.2f}, mAcc {row.mAcc:.2f}"]
        if row.available:
            lines.append(row.command(data_root) + ("" if row.method == TEACHER else " --resume"))
        else:
            lines.append("# not in this version")
    return "\n".join([*lines, ""])
