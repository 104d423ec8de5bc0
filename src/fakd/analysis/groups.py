"""Runs that differ in nothing but their seed, taken together."""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import MISSING, dataclass, fields
from pathlib import Path
from statistics import fmean, stdev
from typing import Any, NamedTuple

from fakd.analysis.runs import Run, read_run
from fakd.training import DistillConfig, TrainConfig

ALONE = "student alone"
"""Name of the runs with method none."""
# What says where, how fast and how watchfully a run was made, not what it computes; and the seed.
_NOT_COMPARED = {
    *("seed", "output", "data_root", "resume", "overwrite", "workers", "check_data", "allow_bad_teacher"),
    *("accelerator", "devices", "eval_every", "checkpoint_every", "log_every"),
}


class Spread(NamedTuple):
    """A value over seeds."""

    mean: float | None
    """None where no run has the value."""
    sd: float | None
    """Sample standard deviation; None for fewer than two values."""

    def text(self, digits: int = 1) -> str:
        """As people write it."""
        if self.mean is None:
            return "-"
        return f"{self.mean:.{digits}f}" + ("" if self.sd is None else f" ± {self.sd:.{digits}f}")


def spread(values: Iterable[float | None]) -> Spread:
    """Mean and sample standard deviation of the values that are there."""
    there = [value for value in values if value is not None]
    return Spread(fmean(there) if there else None, stdev(there) if len(there) > 1 else None)


@dataclass(frozen=True, eq=False)
class RunGroup:
    """Runs of one method that differ only in their seed."""

    name: str
    """What tables and legends call it."""
    runs: tuple[Run, ...]

    @property
    def slug(self) -> str:
        """The name as part of a file's name."""
        return re.sub(r"[^\w.]+", "-", self.name).strip("-")

    def class_iou(self) -> dict[str, Spread]:
        """Every class's IoU in percent."""
        return {name: spread(run.results["IoU"][name] for run in self.runs) for name in classes_of(self.runs[0])}


def classes_of(run: Run) -> tuple[str, ...]:
    """The names of the classes that the run was scored on."""
    return tuple(run.results["IoU"])


def read_groups(folders: Iterable[Path]) -> list[RunGroup]:
    """Read finished runs on one data set, and put those together that differ only in their seed.

    Args:
        folders: run folders; one that is named twice counts once.

    Raises:
        ValueError: there are none, or they are of different data sets or classes.
        FileNotFoundError: one is no finished run.
    """
    runs = [read_run(folder) for folder in {Path(folder).resolve(): Path(folder) for folder in folders}.values()]
    if not runs:
        raise ValueError("no run was given: name one or more folders of finished runs.")
    for run in runs:
        _check_same_data(runs[0], run)
    compared = [_compared_options(run) for run in runs]
    distinct = [options for place, options in enumerate(compared) if options not in compared[:place]]
    names = _names(distinct, {str(run.folder.resolve()): options for run, options in zip(runs, compared, strict=True)})
    return [
        RunGroup(name, tuple(run for run, found in zip(runs, compared, strict=True) if found == options))
        for name, options in zip(names, distinct, strict=True)
    ]


def find_baseline(groups: Sequence[RunGroup], wanted: str | None) -> RunGroup | None:
    """The group that is the student alone.

    Args:
        groups: what was read.
        wanted: name of a group, or folder of one of its runs; None takes the one with method none.

    Returns:
        The group; None if none was asked for and no run has method none.

    Raises:
        ValueError: the one asked for is not among the groups, or several have method none.
    """
    known = ", ".join(repr(group.name) for group in groups)
    if wanted is None:
        alone = [group for group in groups if group.runs[0].config.get("method") == "none"]
        if len(alone) > 1:
            raise ValueError(
                f"several kinds of runs have method none: {', '.join(repr(group.name) for group in alone)}. "
                "Say which one the others are compared with: --baseline NAME, or the folder of one of its runs."
            )
        return alone[0] if alone else None
    for group in groups:
        if wanted == group.name or Path(wanted).resolve() in [run.folder.resolve() for run in group.runs]:
            return group
    raise ValueError(f"baseline {wanted!r} is none of the runs: give the folder of one of them, or a name of {known}.")


def _check_same_data(first: Run, run: Run) -> None:
    ours, theirs = first.config["dataset"], run.config["dataset"]
    if ours != theirs:
        raise ValueError(
            f"{first.folder} is a run on {ours}, but {run.folder} on {theirs}: analyse one data set at a time."
        )
    if classes_of(first) != classes_of(run):
        raise ValueError(
            f"{first.folder} has {len(classes_of(first))} classes and {run.folder} {len(classes_of(run))}, or their "
            "names differ: only runs with the same classes can be compared."
        )


def _compared_options(run: Run) -> dict[str, Any]:
    """What must be the same for two runs to be one method; options that an older run lacks are at their defaults."""
    kind = DistillConfig if "method" in run.config else TrainConfig
    defaults = {item.name: item.default for item in fields(kind) if item.default is not MISSING}
    options = {key: list(value) if isinstance(value, tuple) else value for key, value in defaults.items()} | run.config
    return {key: value for key, value in options.items() if key not in _NOT_COMPARED}


def _names(groups: Sequence[Mapping[str, Any]], folders: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """A name for each group; what would have the same one is told apart by the options that differ."""
    taught_by = [folders.get(str(Path(options["teacher"]).resolve())) for options in groups if "teacher" in options]
    names = ["teacher" if options in taught_by else _name(options) for options in groups]
    return [
        name + _differences(options, [other for other, twin in zip(groups, names, strict=True) if twin == name])
        for name, options in zip(names, groups, strict=True)
    ]


def _name(options: Mapping[str, Any]) -> str:
    if "method" not in options:
        return f"{options['network']} alone"
    method = ALONE if options["method"] == "none" else str(options["method"])
    return " ".join([method, *(f"{key}={value}" for key, value in options.get("options", {}).items())])


def _differences(options: Mapping[str, Any], twins: Sequence[Mapping[str, Any]]) -> str:
    differing = [key for key in options if any(twin.get(key) != options[key] for twin in twins)]
    return f" ({', '.join(f'{key}={options[key]}' for key in differing)})" if differing else ""
