"""The tables of the page: cells with a text to read and a value to sort by."""

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from fakd.analysis.groups import Group, find_alone
from fakd.analysis.paper_rows import PaperRow
from fakd.analysis.published import group_row, published_teacher, run_teacher_network
from fakd.analysis.report.figures import class_iou
from fakd.analysis.report.networks import giga_macs
from fakd.analysis.runs import Run
from fakd.analysis.statistics import LEVEL, Difference, Spread, spread, spread_text

_SCORES = ("mIoU", "mAcc", "aAcc")
_NONE = "\N{EN DASH}"
_PAIRED = (
    f"mean difference between runs of the same seed, in points, and its {LEVEL:.0%} confidence interval; of the means, "
    "without an interval, where no seed is in both"
)


@dataclass(frozen=True)
class Column:
    """The head of a column."""

    title: str
    numeric: bool = True
    hint: str = ""
    """What the title means, shown on hovering and read out."""


@dataclass(frozen=True)
class Cell:
    """A cell; the value is what it is sorted by, None always comes last."""

    text: str = _NONE
    value: float | str | None = None
    best: bool = False
    link: str = ""


@dataclass(frozen=True)
class Table:
    """A table that the page can sort."""

    name: str
    caption: str
    columns: Sequence[Column]
    rows: Sequence[Sequence[Cell]]


def run_names(runs: Sequence[Run]) -> list[str]:
    """The runs' folders without what they all have in common."""
    folders = [run.folder.resolve() for run in runs]
    common = Path(os.path.commonpath([folder.parent for folder in folders]))
    return [folder.relative_to(common).as_posix() for folder in folders]


def group_table(groups: Sequence[Group], teachers: Mapping[str, Run | None]) -> Table:
    """Mean and deviation over seeds, and the difference to the student alone."""
    columns = [Column("method", numeric=False)]
    for name in _SCORES:
        columns.append(Column(f"{name} %", hint="mean ± standard deviation over seeds"))
        columns.append(Column(f"Δ {name}", hint=f"minus the student alone: {_PAIRED}"))
    columns += [Column("seeds"), Column("s / step"), Column("time"), Column("peak memory")]
    columns += [Column("parameters"), Column("GMACs", hint="of one image of the training crops' size")]
    columns += [Column("network", numeric=False)]
    rows, papers = [], []
    best = _best([group.spread(_result("mIoU")) if group.method else None for group in groups])
    for index, group in enumerate(groups):
        alone = find_alone(group, groups)
        row = [_word(group.label)]
        for name in _SCORES:
            row.append(_mean(group.spread(_result(name)), best=name == "mIoU" and index == best))
            row.append(_difference(None if alone is None else group.gain(alone, _result(name))))
        row += [_number(len(group.runs), "{:d}"), _mean(group.spread(_result("seconds_per_step")), digits=3)]
        row += [_duration(group.spread(_result("seconds"))), _memory(group.spread(_result("peak_memory")))]
        row += [_number(group.runs[0].results["parameters"], "{:,}"), _number(giga_macs(group.runs[0]), "{:.3g}")]
        row += [_word(group.network)]
        rows.append(row)
        papers.append((group_row(group, teachers.get(str(group.runs[0].folder))), _means(group)))
    for name, network, scores in _outside_teachers(groups, teachers):
        row = [_word(name)]
        row += [cell for key in _SCORES for cell in (_number(scores[key], "{:.2f}"), Cell())]
        row += [Cell()] * (len(columns) - len(row) - 1)
        rows.insert(0, [*row, _word(network or _NONE)])
        papers.insert(0, (published_teacher(groups[0].options["dataset"], network), (scores["mIoU"], scores["mAcc"])))
    return _beside_paper(Table("groups", "Every method: mean over seeds", columns, rows), papers)


def run_table(groups: Sequence[Group], names: Mapping[str, str], teachers: Mapping[str, Run | None]) -> Table:
    """Every run by itself.

    Args:
        groups: of finished runs.
        names: by folder, how a run is called.
        teachers: by folder, the run of its teacher.
    """
    columns = [Column("run", numeric=False), Column("method", numeric=False), Column("seed")]
    columns += [*(Column(f"{name} %") for name in _SCORES), Column("s / step"), Column("time"), Column("peak memory")]
    columns += [Column("parameters"), Column("network", numeric=False)]
    rows, papers = [], []
    for group in groups:
        for run in group.runs:
            name, results = names[str(run.folder)], run.results
            row = [Cell(name, name, link=f"#run-{name}"), _word(group.label), _number(run.config["seed"], "{:d}")]
            row += [_number(results[key], "{:.2f}") for key in _SCORES]
            row += [_number(results["seconds_per_step"], "{:.3f}"), _duration(spread([results["seconds"]]))]
            row += [_memory(spread([results.get("peak_memory")])), _number(results["parameters"], "{:,}")]
            row += [_word(group.network)]
            rows.append(row)
            papers.append((group_row(group, teachers.get(str(run.folder))), (results["mIoU"], results["mAcc"])))
    return _beside_paper(Table("runs", "Every run", columns, rows), papers)


def class_table(groups: Sequence[Group], teachers: Mapping[str, Run | None]) -> Table:
    """IoU of every class, a column for each group; the best student of a class is marked."""
    outside = _outside_teachers(groups, teachers)
    classes = list(groups[0].runs[0].results["IoU"])
    columns = [Column("class", numeric=False)]
    columns += [Column(name) for name, _, _ in outside] + [Column(group.label) for group in groups]
    rows = []
    for name in classes:
        means = [group.spread(partial(class_iou, name=name)) for group in groups]
        best = _best([found if group.method else None for group, found in zip(groups, means, strict=True)])
        row = [_word(name), *(_number(scores["IoU"].get(name), "{:.1f}") for _, _, scores in outside)]
        rows.append([*row, *(_mean(found, digits=1, best=index == best) for index, found in enumerate(means))])
    return Table("classes", "IoU of every class in percent: mean over seeds", columns, rows)


def _outside_teachers(
    groups: Sequence[Group], teachers: Mapping[str, Run | None]
) -> list[tuple[str, str | None, dict[str, Any]]]:
    """Name, network and scores of the teachers that are not among the runs, as their students' runs wrote them."""
    found: dict[str, tuple[str | None, dict[str, Any]]] = {}
    for group in groups:
        for run in group.runs:
            if "teacher" in run.results and teachers.get(str(run.folder)) is None:
                found.setdefault(str(run.config["teacher"]), (run_teacher_network(run, None), run.results["teacher"]))
    several = len(found) > 1
    return [(f"teacher {name}" if several else "teacher", *about) for name, about in found.items()]


def _beside_paper(table: Table, papers: Sequence[tuple[PaperRow | None, tuple[float, float]]]) -> Table:
    """Add the published scores and the differences to them, if there are any."""
    if not any(row for row, _ in papers):
        return table
    columns = [*table.columns]
    for name in ("mIoU", "mAcc"):
        columns.append(Column(f"paper {name} %", hint="published for this data set, these networks and this method"))
        columns.append(Column(f"Δ paper {name}", hint="ours minus the published, in points"))
    rows = []
    for own, (paper, (miou, macc)) in zip(table.rows, papers, strict=True):
        if paper is None:
            rows.append([*own, *[Cell()] * 4])
            continue
        cells = []
        for ours, published in ((miou, paper.mIoU), (macc, paper.mAcc)):
            cells += [_number(published, "{:.2f}"), _number(ours - published, "{:+.2f}")]
        rows.append([*own, *cells])
    return Table(table.name, table.caption, columns, rows)


def _result(name: str) -> Callable[[Run], float | None]:
    return lambda run: run.results.get(name)


def _means(group: Group) -> tuple[float, float]:
    miou, macc = (group.spread(_result(name)) for name in ("mIoU", "mAcc"))
    assert miou is not None  # finished runs have both
    assert macc is not None
    return miou.mean, macc.mean


def _best(spreads: Sequence[Spread | None]) -> int | None:
    means = {index: found.mean for index, found in enumerate(spreads) if found is not None}
    highest = max(means, key=means.__getitem__, default=None)
    return highest if len(means) > 1 and highest is not None and means[highest] > 0 else None


def _word(text: str) -> Cell:
    return Cell(text, text)


def _number(value: float | None, form: str) -> Cell:
    return Cell() if value is None else Cell(form.format(value).replace("-", "\N{MINUS SIGN}"), value)


def _mean(found: Spread | None, digits: int = 2, best: bool = False) -> Cell:
    return Cell() if found is None else Cell(spread_text(found, digits), found.mean, best)


def _difference(found: Difference | None) -> Cell:
    if found is None:
        return Cell()
    interval = "" if found.low is None or found.high is None else f" [{found.low:+.2f}, {found.high:+.2f}]"
    return Cell(f"{found.mean:+.2f}{interval}".replace("-", "\N{MINUS SIGN}"), found.mean)


def _duration(found: Spread | None) -> Cell:
    if found is None:
        return Cell()
    minutes, seconds = divmod(round(found.mean), 60)
    hours, minutes = divmod(minutes, 60)
    text = f"{hours} h {minutes} min" if hours else f"{minutes} min {seconds} s" if minutes else f"{found.mean:.1f} s"
    return Cell(text, found.mean)


def _memory(found: Spread | None) -> Cell:
    return Cell() if found is None else Cell(f"{found.mean / 2**30:.2f} GiB", found.mean)
