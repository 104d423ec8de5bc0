"""The tables of the page: cells with a text to read and a value to sort by."""

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from fakd.analysis.groups import Group, gains, teacher_group
from fakd.analysis.paper_rows import group_row, run_teacher_network
from fakd.analysis.report.pictures import Confusion
from fakd.analysis.runs import Run
from fakd.analysis.statistics import LEVEL, MARKED, Difference, Spread, difference_text, spread_text
from fakd.evaluation.ensembles import teacher_title

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
    mark: str = "best student"
    """What it means that it is the best, shown on hovering."""
    link: str = ""


@dataclass(frozen=True)
class Table:
    """A table that the page can sort."""

    name: str
    caption: str
    columns: Sequence[Column]
    rows: Sequence[Sequence[Cell]]
    note: str = ""
    """What is said below it."""


Shown = tuple[Column, Callable[[Group], Cell]]
"""A column, and what it says of a group."""
_COSTS: Sequence[Shown] = (
    (Column("s / step"), lambda group: _mean(group.spread("seconds_per_step"), 3)),
    (Column("time"), lambda group: _duration(group.spread("seconds"))),
    (Column("peak memory"), lambda group: _memory(group.spread("peak_memory"))),
    (Column("parameters"), lambda group: _number(group.parameters, "{:,}")),
)
_NETWORK: Shown = (Column("network", numeric=False), lambda group: _word(group.network))


_MOST_PREDICTED = 12
"""Columns of a confusion matrix that a page has room for."""


def run_names(runs: Sequence[Run]) -> list[str]:
    """The runs' folders without what they all have in common."""
    folders = [run.folder.resolve() for run in runs]
    common = Path(os.path.commonpath([folder.parent for folder in folders]))
    return [folder.relative_to(common).as_posix() for folder in folders]


def group_table(groups: Sequence[Group], teachers: Mapping[str, Run | None]) -> Table:
    """Mean and deviation over seeds, and the difference to the student alone."""
    outside = outside_teachers(groups, teachers)
    rows = [*outside, *groups]
    differences = {name: gains(groups, name) for name in _SCORES}
    best = _best({group: found for group in groups if group.method and (found := group.spread("mIoU"))})
    columns: list[Shown] = [(Column("method", numeric=False), lambda group: _word(group.label))]
    for name in _SCORES:
        mean, gain = f"{name} %", f"minus the student alone: {_PAIRED}"
        columns += [
            (Column(mean, hint="mean ± standard deviation over seeds"), partial(_score, name, best=best)),
            (Column(f"Δ {name}", hint=gain), lambda group, name=name: _difference(differences[name].get(group))),  # type: ignore[misc]
        ]
    columns += [
        (Column("seeds"), lambda group: _number(len(group.runs) if group.by_seed else None, "{:d}")),
        *_COSTS,
        (
            Column("GMACs", hint="of one image of the training crops' size"),
            lambda group: _number(None if group in outside else group.giga_macs, "{:.3g}"),
        ),
        _NETWORK,
        *_paper_columns(rows, teachers),
    ]
    marked = any(found.p is not None for each in differences.values() for found in each.values())
    return replace(_table("groups", "Every method: mean over seeds", columns, rows), note=MARKED * marked)


def run_table(groups: Sequence[Group], names: Mapping[str, str], teachers: Mapping[str, Run | None]) -> Table:
    """Every run by itself.

    Args:
        groups: of finished runs.
        names: by folder, how a run is called.
        teachers: by folder, the run of its teacher.
    """

    def named(group: Group) -> Cell:
        name = names[str(group.runs[0].folder)]
        return Cell(name, name, link=f"#run-{name}")

    rows = [replace(group, runs=[run]) for group in groups for run in group.runs]
    columns: list[Shown] = [
        (Column("run", numeric=False), named),
        (Column("method", numeric=False), lambda group: _word(group.label)),
        (Column("seed"), lambda group: _number(group.runs[0].config["seed"], "{:d}")),
        *((Column(f"{name} %"), partial(_score, name)) for name in _SCORES),
        *_COSTS,
        _NETWORK,
        *_paper_columns(rows, teachers),
    ]
    return _table("runs", "Every run", columns, rows)


def class_table(groups: Sequence[Group], teachers: Mapping[str, Run | None]) -> Table:
    """IoU of every class, a column for each group; the best student of a class is marked."""
    shown = [*outside_teachers(groups, teachers), *groups]
    columns = [Column("class", numeric=False), *(Column(group.label) for group in shown)]
    rows = []
    for name in groups[0].classes:
        means = [group.spread("IoU", name) for group in shown]
        best = _best({group: found for group, found in zip(shown, means, strict=True) if group.method and found})
        cells = (_mean(found, 1, group is best) for group, found in zip(shown, means, strict=True))
        rows.append([_word(name), *cells])
    return Table("classes", "IoU of every class in percent: mean over seeds", columns, rows)


def outside_teachers(groups: Sequence[Group], teachers: Mapping[str, Run | None]) -> list[Group]:
    """The teachers that are not among the runs, as their students' runs have scored them."""
    runs: dict[str, Run] = {}
    for run in (run for group in groups for run in group.runs):
        if "teacher" in run.results and teachers.get(str(run.folder)) is None:
            runs.setdefault(teacher_title(run.config["teacher"]), run)
    return [
        teacher_group(f"teacher {name}" if len(runs) > 1 else "teacher", run_teacher_network(run, None) or _NONE, run)
        for name, run in runs.items()
    ]


def _table(name: str, caption: str, columns: Sequence[Shown], groups: Sequence[Group]) -> Table:
    """A row for each group; a column that says nothing of any of them is left out."""
    filled = [(column, [show(group) for group in groups]) for column, show in columns]
    kept = [(column, cells) for column, cells in filled if any(cell.value is not None for cell in cells)]
    rows = list(zip(*(cells for _, cells in kept), strict=True))
    return Table(name, caption, [column for column, _ in kept], rows)


def confusion_table(name: str, confusion: Confusion, classes: Sequence[str]) -> Table:
    """What the pixels of every class were taken for: shares in percent of a row, the most predicted classes first."""
    matrix = confusion.matrix.double()
    predicted = [index for index in matrix.sum(0).argsort(descending=True).tolist() if matrix[:, index].sum() > 0]
    shown, others = predicted[:_MOST_PREDICTED], predicted[_MOST_PREDICTED:]
    columns = [Column("truth", numeric=False), *(Column(classes[index]) for index in shown)]
    columns += [Column("others")] if others else []
    rows = []
    for truth, counts in enumerate(matrix):
        if (total := counts.sum().item()) == 0:
            continue
        parts = [(index, counts[index].item()) for index in shown]
        parts += [(-1, counts[others].sum().item())] if others else []
        cells = [Cell(f"{100 * part / total:.1f}", part / total, index == truth, "right") for index, part in parts]
        rows.append([_word(classes[truth]), *cells])
    caption = f"What {confusion.label} takes each class for: percent of its pixels, in {confusion.images} images"
    return Table(name, caption, columns, rows)


def _paper_columns(groups: Sequence[Group], teachers: Mapping[str, Run | None]) -> list[Shown]:
    """The published scores and the differences to them, if there are any."""
    papers = {group: group_row(group, teachers.get(str(group.runs[0].folder))) for group in groups}

    def published(group: Group, name: str) -> Cell:
        return _number(getattr(papers[group], name, None), "{:.2f}")

    def difference(group: Group, name: str) -> Cell:
        theirs, ours = published(group, name).value, group.spread(name)
        return _number(None if ours is None or not isinstance(theirs, float) else ours.mean - theirs, "{:+.2f}")

    hint = "published for this data set, these networks and this method"
    columns: list[Shown] = []
    for name in ("mIoU", "mAcc") if any(papers.values()) else ():
        columns.append((Column(f"paper {name} %", hint=hint), partial(published, name=name)))
        ours = Column(f"Δ paper {name}", hint="ours minus the published, in points")
        columns.append((ours, partial(difference, name=name)))
    return columns


def _best(means: Mapping[Group, Spread]) -> Group | None:
    highest = max(means, key=lambda group: means[group].mean, default=None)
    return highest if len(means) > 1 and highest is not None and means[highest].mean > 0 else None


def _score(name: str, group: Group, best: Group | None = None) -> Cell:
    return _mean(group.spread(name), best=name == "mIoU" and group is best)


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
