"""A comparison as lines of text, as CSV and as plain values."""

import csv
import io
from collections.abc import Callable
from typing import Any

from fakd.analysis.statistics import Difference, Spread, spread_text
from fakd.experiments.comparison import SCORES, Comparison, Row

_NONE = "-"


def table_lines(comparison: Comparison) -> list[list[str]]:
    """The whole table for a document: the head, and a row for each row.

    What is the same in all rows, as a student or a number of steps, has no column.
    """
    students = comparison.students()
    columns: dict[str, Callable[[Row], str]] = {"method": lambda row: row.label}
    if len({row.student for row in students}) > 1:
        columns["network"] = lambda row: row.student
    columns["seeds"] = lambda row: str(len(row.runs)) if row.runs else _NONE
    columns |= _score_columns()
    if len(baselines := {row.baseline for row in students if row.baseline is not None}) > 1:
        columns["compared with"] = lambda row: row.baseline or _NONE
    for name in SCORES if baselines else ():
        columns[f"Δ {name} [95 % CI]"] = lambda row, name=name: _interval(row.differences.get(name))  # type: ignore[misc]
    columns |= {"parameters": lambda row: f"{row.parameters:,}", "GMACs": lambda row: f"{row.gmacs:.3g}"}
    if len({row.steps for row in students}) > 1:
        columns["steps"] = lambda row: _NONE if row.steps is None else f"{row.steps:,}"
    columns |= _cost_columns() | _paper_columns(comparison)
    return _lines(columns, comparison)


def short_lines(comparison: Comparison) -> list[list[str]]:
    """What fits a terminal of 80 columns: scores, the difference that matters, and the cost."""
    several = len({row.student for row in comparison.students()}) > 1
    columns: dict[str, Callable[[Row], str]] = {"": lambda row: f"{row.label} {row.student}" if several else row.label}
    columns |= _score_columns()
    if any(row.baseline for row in comparison.rows):
        columns["Δ mIoU\n[95 % CI]"] = lambda row: _interval(row.differences.get("mIoU")).replace(" [", "\n[")
    columns["s/step"] = lambda row: _NONE if row.seconds_per_step is None else f"{row.seconds_per_step.mean:.3f}"
    columns["seconds"] = lambda row: _NONE if row.seconds is None else f"{row.seconds.mean:,.0f}"
    columns["MiB"] = _cost_columns()["peak MiB"]
    if paper := _paper_columns(comparison):
        columns["paper\n(ours - it)"] = lambda row: next(iter(paper.values()))(row).replace(" (", "\n(")
    return _lines(columns, comparison)


def csv_text(comparison: Comparison) -> str:
    """The table as CSV, a number a cell."""
    rows = [flat(row) for row in comparison.rows]
    file = io.StringIO()
    writer = csv.DictWriter(file, list(rows[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return file.getvalue()


def flat(row: Row) -> dict[str, Any]:
    """A row as single numbers; None where there is none."""
    values: dict[str, Any] = {
        "label": row.label,
        "network": row.student,
        "method": row.method or "teacher",
        "options": " ".join(f"{name}={value}" for name, value in row.options.items()),
        "seeds": " ".join(map(str, row.runs)),
    }
    for name in SCORES:
        values |= _flat_spread(name, row.scores.get(name))
    values["compared_with"] = row.baseline
    for name in SCORES:
        found = row.differences.get(name) or Difference(None, None, None, 0)  # type: ignore[arg-type]
        values |= {f"{name}_difference": found.mean, f"{name}_low": found.low, f"{name}_high": found.high}
    values |= {"parameters": row.parameters, "gmacs": row.gmacs, "steps": row.steps}
    for name in ("seconds_per_step", "seconds", "peak_memory"):
        values |= _flat_spread(name, getattr(row, name))
    for name in SCORES:
        values[f"paper_{name}"] = None if row.paper is None else getattr(row.paper, name)
    return values


def plain(comparison: Comparison) -> dict[str, Any]:
    """The comparison ready for JSON."""
    config = comparison.config
    return {
        "dataset": config.dataset,
        "command": list(comparison.command),
        "budget": config.budget,
        "minutes": config.minutes,
        "rows": [
            {
                **flat(row),
                "options": dict(row.options),
                "seeds": list(row.runs),
                "runs": {
                    str(seed): {"folder": str(run.folder), **{name: run.results[name] for name in (*SCORES, "seconds")}}
                    for seed, run in row.runs.items()
                },
            }
            for row in comparison.rows
        ],
        "failed": [
            {"run": failure.name, "reason": failure.reason, "log": str(failure.log)} for failure in comparison.failures
        ],
    }


def _lines(columns: dict[str, Callable[[Row], str]], comparison: Comparison) -> list[list[str]]:
    return [list(columns), *([show(row) for show in columns.values()] for row in comparison.rows)]


def _score_columns() -> dict[str, Callable[[Row], str]]:
    return {f"{name} %": lambda row, name=name: spread_text(row.scores.get(name), 2) for name in SCORES}  # type: ignore[misc]


def _cost_columns() -> dict[str, Callable[[Row], str]]:
    return {
        "s / step": lambda row: spread_text(row.seconds_per_step, 3),
        "seconds": lambda row: spread_text(row.seconds, 0),
        "peak MiB": lambda row: _NONE if row.peak_memory is None else f"{row.peak_memory.mean / 2**20:,.0f}",
    }


def _paper_columns(comparison: Comparison) -> dict[str, Callable[[Row], str]]:
    """The published scores, and ours minus them."""
    if not any(row.paper for row in comparison.rows):
        return {}

    def show(row: Row, name: str) -> str:
        if row.paper is None or name not in row.scores:
            return _NONE
        published: float = getattr(row.paper, name)
        return f"{published:.2f} ({_signed(row.scores[name].mean - published)})"

    return {f"paper's {name} (ours - it)": lambda row, name=name: show(row, name) for name in SCORES}  # type: ignore[misc]


def _interval(found: Difference | None) -> str:
    if found is None:
        return _NONE
    known = found.low is not None and found.high is not None
    return f"{_signed(found.mean)} [{f'{_signed(found.low)}, {_signed(found.high)}' if known else _NONE}]"


def _signed(value: float | None) -> str:
    """With its sign, but no minus before what is rounded to 0."""
    return _NONE if value is None else f"{round(value, 2) + 0.0:+.2f}"


def _flat_spread(name: str, found: Spread | None) -> dict[str, float | None]:
    return {name: None if found is None else found.mean, f"{name}_sd": None if found is None else found.sd}
