"""What a grid of runs says: a row for the teacher, and one for each student, method and its options."""

import csv
import io
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from fakd.analysis.groups import Group, gains, teacher_group
from fakd.analysis.paper_rows import PaperRow, group_row, run_teacher_network
from fakd.analysis.run_options import with_defaults
from fakd.analysis.runs import Run, read_run
from fakd.analysis.statistics import Difference, difference_text, parts, signed, spread_text
from fakd.evaluation.ensembles import teacher_names, teacher_title
from fakd.experiments.grid import Arm, GridConfig
from fakd.experiments.planned_run import Failure
from fakd.models import open_any
from fakd.training.run_folder import RunFolder

SCORES = ("mIoU", "mAcc")
_COSTS = ("seconds_per_step", "seconds", "peak_memory")
_NONE = "-"

Columns = dict[str, Callable[[Group], str]]


@dataclass(frozen=True)
class GridResults:
    """The finished runs of a grid in groups, and what they were made from."""

    config: GridConfig
    groups: Sequence[Group]
    """The rows of the table; the teacher first, if any run is finished, which says its scores."""
    failures: Sequence[Failure]
    command: Sequence[str]

    @property
    def students(self) -> list[Group]:
        """The rows but for the teacher's."""
        return [group for group in self.groups if group.method is not None]

    @property
    def titles(self) -> dict[str, str]:
        """How each score is called: against a teacher's masks it is no mIoU."""
        return {"mIoU": self.config.score, "mAcc": "mAcc" if self.config.score == "mIoU" else "mAcc against it"}

    @cached_property
    def gains(self) -> dict[str, dict[Group, Difference]]:
        """By score, what each row gains over that which it is compared with."""
        return {name: gains(self.groups, name) for name in SCORES}

    @cached_property
    def paper(self) -> dict[Group, PaperRow]:
        """The row of the paper that each repeats, where it has one."""
        return {group: row for group in self.groups if (row := group_row(group)) is not None}


def group_results(
    config: GridConfig,
    arms: Sequence[Arm],
    runs: Mapping[tuple[str, int], Run],
    failures: Sequence[Failure],
    command: Sequence[str],
) -> GridResults:
    """Put runs together as a table.

    Args:
        config: what was asked for.
        arms: the rows, in order; what one is compared with is compared with nothing itself.
        runs: finished ones by the name of the arm and the seed; at least one.
        failures: the others.
        command: the words of the command line.
    """
    first = next(iter(runs.values()))
    groups: dict[str, Group] = {}
    for arm in sorted(arms, key=lambda arm: arm.baseline is not None):
        own = [runs[arm.name, seed] for seed in config.seed_list if (arm.name, seed) in runs]
        options = {**with_defaults(first.config), "student": arm.student, "method": arm.method, "options": arm.options}
        groups[arm.name] = Group(arm.label, options, own, baseline=groups.get(arm.baseline or ""))
    rows = [groups[arm.name] for arm in arms if groups[arm.name].runs]
    if config.sort == "time":
        rows.sort(key=lambda group: parts(group.spread("seconds"))[0] or 0)
    elif config.sort != "given":
        rows.sort(key=lambda group: -(parts(group.spread(config.sort))[0] or 0))
    return GridResults(config, [_teacher(config, first), *rows], failures, command)


def _teacher(config: GridConfig, run: Run) -> Group:
    """The teacher as every run has evaluated it; what its training took, where it was a run."""
    names = teacher_names(config.teacher_path)
    folder = RunFolder(Path(names[0]))
    trained = len(names) == 1 and folder.config.is_file() and folder.results.is_file()
    own = read_run(folder.root).results if trained else {}
    costs = {name: own.get(name) for name in ("steps", *_COSTS)}
    networks = [open_any(name)[0] for name in names]
    # of a file that scores alone nobody knows how many there are
    costs["parameters"] = sum(weight.numel() for network in networks for weight in network.parameters()) or None
    return teacher_group("teacher", run_teacher_network(run, None) or teacher_title(names), run, costs)


def table_lines(results: GridResults) -> list[list[str]]:
    """The whole table for a document: the head, and a row for each row.

    What is the same in all rows, as a student or a number of steps, has no column.
    """
    columns: Columns = {"method": lambda group: group.label}
    if len({group.network for group in results.students}) > 1:
        columns["network"] = lambda group: group.network
    columns["seeds"] = lambda group: str(len(group.by_seed) or _NONE)
    columns |= _score_columns(results)
    baselines = {group.baseline.label for group in results.students if group.baseline is not None}
    if len(baselines) > 1:
        columns["compared with"] = lambda group: group.baseline.label if group.baseline else _NONE
    for name in SCORES if baselines else ():
        columns[f"Δ {results.titles[name]} [95 % CI]"] = lambda group, name=name: _gain(results, group, name)  # type: ignore[misc]
    columns |= {
        "parameters": lambda group: f"{group.parameters:,}",
        "GMACs": lambda group: _text(group.giga_macs, ".3g"),
    }
    if len({_steps(group) for group in results.students}) > 1:
        columns["steps"] = lambda group: _text(_steps(group), ",")
    return _lines(columns | _cost_columns() | _paper_columns(results), results)


def short_lines(results: GridResults) -> list[list[str]]:
    """What fits a terminal of 80 columns: scores, the difference that matters, and the cost."""
    several = len({group.network for group in results.students}) > 1
    columns: Columns = {"": lambda group: f"{group.label} {group.network}" if several else group.label}
    columns |= _score_columns(results)
    if any(group.baseline for group in results.groups):
        columns[f"Δ {results.titles['mIoU']}\n[95 % CI]"] = lambda group: _gain(results, group, "mIoU").replace(
            " [", "\n["
        )
    columns["s/step"] = lambda group: _text(parts(group.spread("seconds_per_step"))[0], ".3f")
    columns["seconds"] = lambda group: _text(parts(group.spread("seconds"))[0], ",.0f")
    columns["MiB"] = _cost_columns()["peak MiB"]
    if paper := _paper_columns(results):
        columns["paper\n(ours - it)"] = lambda group: next(iter(paper.values()))(group).replace(" (", "\n(")
    return _lines(columns, results)


def csv_text(results: GridResults) -> str:
    """The table as CSV, a number a cell."""
    rows = [flat(results, group) for group in results.groups]
    file = io.StringIO()
    writer = csv.DictWriter(file, list(rows[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return file.getvalue()


def flat(results: GridResults, group: Group) -> dict[str, Any]:
    """A row as single numbers; None where there is none."""
    values: dict[str, Any] = {
        "label": group.label,
        "network": group.network,
        "method": group.method or "teacher",
        "options": " ".join(f"{name}={value}" for name, value in group.options.get("options", {}).items()),
        "seeds": " ".join(map(str, group.by_seed)),
    }
    for name in SCORES:
        values |= _flat_spread(name, group)
    values["compared_with"] = group.baseline and group.baseline.label
    for name in SCORES:
        found = results.gains[name].get(group)
        for part, key in {"mean": "difference", "low": "low", "high": "high", "p": "p"}.items():
            values[f"{name}_{key}"] = found and getattr(found, part)
    values |= {"parameters": group.parameters, "gmacs": group.giga_macs, "steps": _steps(group)}
    for name in _COSTS:
        values |= _flat_spread(name, group)
    for name in SCORES:
        values[f"paper_{name}"] = getattr(results.paper.get(group), name, None)
    return values


def plain(results: GridResults) -> dict[str, Any]:
    """The results ready for JSON."""
    return {
        "dataset": results.config.dataset,
        **({} if results.config.score == "mIoU" else {"scored_against": "teacher"}),
        "command": list(results.command),
        "budget": results.config.budget,
        "minutes": results.config.minutes,
        "rows": [
            {
                **flat(results, group),
                "options": dict(group.options.get("options", {})),
                "seeds": list(group.by_seed),
                "runs": {
                    str(seed): {"folder": str(run.folder), **{name: run.results[name] for name in (*SCORES, "seconds")}}
                    for seed, run in group.by_seed.items()
                },
            }
            for group in results.groups
        ],
        "failed": [
            {"run": failure.name, "reason": failure.reason, "log": str(failure.log)} for failure in results.failures
        ],
    }


def _lines(columns: Columns, results: GridResults) -> list[list[str]]:
    return [list(columns), *([show(group) for show in columns.values()] for group in results.groups)]


def _score_columns(results: GridResults) -> Columns:
    return {
        f"{results.titles[name]} %": lambda group, name=name: spread_text(group.spread(name), 2)  # type: ignore[misc]
        for name in SCORES
    }


def _cost_columns() -> Columns:
    def memory(group: Group) -> str:
        found = group.spread("peak_memory")
        return _NONE if found is None else f"{found.mean / 2**20:,.0f}"

    return {
        "s / step": lambda group: spread_text(group.spread("seconds_per_step"), 3),
        "seconds": lambda group: spread_text(group.spread("seconds"), 0),
        "peak MiB": memory,
    }


def _paper_columns(results: GridResults) -> Columns:
    """The published scores, and ours minus them."""

    def show(group: Group, name: str) -> str:
        ours, row = group.spread(name), results.paper.get(group)
        if row is None or ours is None:
            return _NONE
        published: float = getattr(row, name)
        return f"{published:.2f} ({signed(ours.mean - published)})"

    return {
        f"paper's {name} (ours - it)": lambda group, name=name: show(group, name)  # type: ignore[misc]
        for name in (SCORES if results.paper else ())
    }


def _gain(results: GridResults, group: Group, name: str) -> str:
    found = results.gains[name].get(group)
    return _NONE if found is None else difference_text(found, f" [{_NONE}]")


def _steps(group: Group) -> int | None:
    return group.runs[0].results.get("steps")


def _text(value: float | None, form: str) -> str:
    return _NONE if value is None else format(value, form)


def _flat_spread(name: str, group: Group) -> dict[str, float | None]:
    return dict(zip((name, f"{name}_sd"), parts(group.spread(name)), strict=True))
