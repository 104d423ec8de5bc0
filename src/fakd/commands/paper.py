"""`fakd paper`: the command line of every row of the paper's tables."""

from dataclasses import KW_ONLY, dataclass
from itertools import groupby
from pathlib import Path

from fakd.analysis.paper_rows import TEACHER, PaperRow, paper_rows
from fakd.console import did_you_mean, say
from fakd.files.atomic import check_free, write_text
from fakd.options import Output


@dataclass
class PaperConfig:
    """List the command line behind every row of the paper's tables, beside the published scores."""

    _: KW_ONLY
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
    output: Output | None = None
    """Shell script to write the lines to; run again after an interruption, it goes on where it stopped."""
    overwrite: bool = False
    """Replace that file if it exists."""


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
        write_text(config.output, _script(rows, data_root))
        say(f"\nwritten to {config.output}")
    return rows


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
                f"{did_you_mean(str(wanted), map(str, there))}"
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
