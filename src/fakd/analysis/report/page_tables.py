"""The tables of the page: cells with a text to read and a value to sort by."""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from fakd.analysis.groups import Group, gains, teacher_group
from fakd.analysis.paper_rows import group_row, run_teacher_network
from fakd.analysis.runs import Run
from fakd.analysis.statistics import LEVEL, MARKED, Difference, Spread, difference_text, spread, spread_text

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
    outside = outside_teachers(groups, teachers)
    best = _best([None] * len(outside) + [group.spread("mIoU") if group.method else None for group in groups])
    differences = {name: gains(groups, name) for name in _SCORES}
    rows = []
    for index, group in enumerate([*outside, *groups]):
        row = [_word(group.label)]
        for name in _SCORES:
            row.append(_mean(group.spread(name), best=name == "mIoU" and index == best))
            row.append(_difference(differences[name].get(group)))
        row += [_number(len(group.runs) if group.by_seed else None, "{:d}"), _mean(group.spread("seconds_per_step"), 3)]
        row += [_duration(group.spread("seconds")), _memory(group.spread("peak_memory"))]
        row += [_number(group.parameters, "{:,}"), _number(None if group in outside else group.giga_macs, "{:.3g}")]
        rows.append([*row, _word(group.network)])
    marked = (
        f" {MARKED}" if any(found.p is not None for each in differences.values() for found in each.values()) else ""
    )
    table = Table("groups", f"Every method: mean over seeds.{marked}", columns, rows)
    return _beside_paper(table, [*outside, *groups], teachers)


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
    rows, shown = [], []
    for group in groups:
        for run in group.runs:
            name, results = names[str(run.folder)], run.results
            row = [Cell(name, name, link=f"#run-{name}"), _word(group.label), _number(run.config["seed"], "{:d}")]
            row += [_number(results[key], "{:.2f}") for key in _SCORES]
            row += [_number(results["seconds_per_step"], "{:.3f}"), _duration(spread([results["seconds"]]))]
            row += [_memory(spread([results.get("peak_memory")])), _number(results["parameters"], "{:,}")]
            rows.append([*row, _word(group.network)])
            shown.append(replace(group, runs=[run]))
    return _beside_paper(Table("runs", "Every run", columns, rows), shown, teachers)


def class_table(groups: Sequence[Group], teachers: Mapping[str, Run | None]) -> Table:
    """IoU of every class, a column for each group; the best student of a class is marked."""
    shown = [*outside_teachers(groups, teachers), *groups]
    columns = [Column("class", numeric=False), *(Column(group.label) for group in shown)]
    rows = []
    for name in groups[0].classes:
        means = [group.spread("IoU", name) for group in shown]
        best = _best([found if group.method else None for group, found in zip(shown, means, strict=True)])
        rows.append([_word(name), *(_mean(found, 1, best=index == best) for index, found in enumerate(means))])
    return Table("classes", "IoU of every class in percent: mean over seeds", columns, rows)


def outside_teachers(groups: Sequence[Group], teachers: Mapping[str, Run | None]) -> list[Group]:
    """The teachers that are not among the runs, as their students' runs have scored them."""
    runs: dict[str, Run] = {}
    for run in (run for group in groups for run in group.runs):
        if "teacher" in run.results and teachers.get(str(run.folder)) is None:
            runs.setdefault(str(run.config["teacher"]), run)
    return [
        teacher_group(f"teacher {name}" if len(runs) > 1 else "teacher", run_teacher_network(run, None) or _NONE, run)
        for name, run in runs.items()
    ]


def _beside_paper(table: Table, groups: Sequence[Group], teachers: Mapping[str, Run | None]) -> Table:
    """Add the published scores and the differences to them, if there are any.

    Args:
        table: one row for each group.
        groups: in the same order.
        teachers: by folder of a run, the run of its teacher.
    """
    papers = [group_row(group, teachers.get(str(group.runs[0].folder))) for group in groups]
    if not any(papers):
        return table
    columns = [*table.columns]
    for name in ("mIoU", "mAcc"):
        columns.append(Column(f"paper {name} %", hint="published for this data set, these networks and this method"))
        columns.append(Column(f"Δ paper {name}", hint="ours minus the published, in points"))
    rows = []
    for own, group, paper in zip(table.rows, groups, papers, strict=True):
        cells = []
        for name in ("mIoU", "mAcc"):
            if paper is None or (ours := group.spread(name)) is None:
                cells += [Cell(), Cell()]
            else:
                published: float = getattr(paper, name)
                cells += [_number(published, "{:.2f}"), _number(ours.mean - published, "{:+.2f}")]
        rows.append([*own, *cells])
    return replace(table, columns=columns, rows=rows)


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
    return Cell() if found is None else Cell(difference_text(found).replace("-", "\N{MINUS SIGN}"), found.mean)


def _duration(found: Spread | None) -> Cell:
    if found is None:
        return Cell()
    minutes, seconds = divmod(round(found.mean), 60)
    hours, minutes = divmod(minutes, 60)
    text = f"{hours} h {minutes} min" if hours else f"{minutes} min {seconds} s" if minutes else f"{found.mean:.1f} s"
    return Cell(text, found.mean)


def _memory(found: Spread | None) -> Cell:
    return Cell() if found is None else Cell(f"{found.mean / 2**30:.2f} GiB", found.mean)
