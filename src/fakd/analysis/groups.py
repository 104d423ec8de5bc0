"""Runs that differ in their seed alone are one group; groups are what a reader compares."""

import json
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import MISSING, dataclass, fields
from functools import cached_property
from pathlib import Path
from typing import Any

from fakd.analysis.runs import Run, read_run
from fakd.analysis.statistics import Difference, Spread, paired_difference, spread
from fakd.methods import METHODS, method_options
from fakd.training import DistillConfig, TrainConfig
from fakd.training.run_folder import RunFolder

ALONE = "none"
"""The method of the student alone, which others are compared with."""

# What does not make a run another one: its seed, where it lies, and how it was carried out.
_SHARED = {
    *("seed", "output", "resume", "overwrite", "data_root", "workers", "check_data", "accelerator", "devices"),
    *("num_nodes", "eval_every", "checkpoint_every", "keep_checkpoints", "log_every", "allow_bad_teacher"),
    *("cache_images", "channels_last", "compile"),
}


@dataclass(frozen=True, eq=False)
class Group:
    """Runs of several seeds."""

    label: str
    """Short, and different from all other groups'."""
    options: Mapping[str, Any]
    """Every option that the runs share, with today's default where their version had no such option."""
    runs: Sequence[Run]
    """In order of seeds."""
    is_teacher: bool
    """Whether other groups learnt from it."""

    @property
    def method(self) -> str | None:
        """Name of the method; None if the network was trained on labels by `fakd train`."""
        return self.options.get("method")

    @property
    def network(self) -> str:
        """Name of the network that learnt."""
        return str(self.options["student" if self.method else "network"])

    @cached_property
    def by_seed(self) -> dict[int, Run]:
        """The first run of each seed."""
        return {run.config["seed"]: run for run in reversed(self.runs)}

    def spread(self, value: Callable[[Run], float | None]) -> Spread | None:
        """Mean and deviation of a value of the runs; None if none has it."""
        return spread(value(run) for run in self.runs)

    def gain(self, alone: "Group", value: Callable[[Run], float | None]) -> Difference | None:
        """Mean difference to another group over the seeds that both have, and its confidence interval.

        Without such seeds it is the difference of the means. None if no run of one group has the value.
        """
        pairs = [
            {seed: known for seed, run in group.by_seed.items() if (known := value(run)) is not None}
            for group in (self, alone)
        ]
        if found := paired_difference(*pairs):
            return found
        ours, theirs = self.spread(value), alone.spread(value)
        return None if ours is None or theirs is None else Difference(ours.mean - theirs.mean, None, None, 0)

    @property
    def slug(self) -> str:
        """The label as part of a file's name."""
        return re.sub(r"[^\w.]+", "-", self.label).strip("-")

    def class_iou(self) -> dict[str, Spread | None]:
        """Every class's IoU in percent; None where no run could be scored."""
        return {name: self.spread(lambda run, name=name: run.results["IoU"][name]) for name in classes_of(self.runs[0])}  # type: ignore[misc]


def classes_of(run: Run) -> tuple[str, ...]:
    """The names of the classes that the run was scored on."""
    return tuple(run.results["IoU"])


def read_groups(folders: Iterable[Path]) -> list[Group]:
    """Read finished runs on one data set, and group them.

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
    return group_runs(runs)


def find_baseline(groups: Sequence[Group], wanted: str | None) -> Group | None:
    """The group that gains are over.

    Args:
        groups: what was read.
        wanted: label of a group, or folder of one of its runs; None takes the one with method none.

    Returns:
        The group; None if none was asked for and no run has method none.

    Raises:
        ValueError: the one asked for is not among the groups, or several have method none.
    """
    known = ", ".join(repr(group.label) for group in groups)
    if wanted is None:
        alone = [group for group in groups if group.method == ALONE]
        if len(alone) > 1:
            raise ValueError(
                f"several kinds of runs have method none: {', '.join(repr(group.label) for group in alone)}. "
                "Say which one the others are compared with: --baseline NAME, or the folder of one of its runs."
            )
        return alone[0] if alone else None
    for group in groups:
        if wanted == group.label or Path(wanted).resolve() in [run.folder.resolve() for run in group.runs]:
            return group
    raise ValueError(f"baseline {wanted!r} is none of the runs: give the folder of one of them, or a name of {known}.")


def group_runs(runs: Sequence[Run]) -> list[Group]:
    """Group runs: teachers first, then the student alone, then the methods in their usual order."""
    members: dict[str, list[Run]] = {}
    for run in runs:
        members.setdefault(json.dumps(_shared_options(run), sort_keys=True, default=str), []).append(run)
    options = [_shared_options(group[0]) for group in members.values()]
    teachers = {teacher.folder for run in runs if (teacher := find_teacher_run(run, runs)) is not None}
    taught = [any(run.folder in teachers for run in group) for group in members.values()]
    labels = _labels(options, taught)
    groups = [
        Group(label, shared, sorted(group, key=lambda run: run.config["seed"]), is_teacher)
        for label, shared, group, is_teacher in zip(labels, options, members.values(), taught, strict=True)
    ]
    order = [None, *METHODS]
    return sorted(
        groups,
        key=lambda group: (
            not group.is_teacher,
            group.network if group.method else "",
            order.index(group.method) if group.method in order else len(order),
            len(group.label),
        ),
    )


def find_alone(group: Group, groups: Sequence[Group]) -> Group | None:
    """The student alone that a group is compared with: of the same options, or at least of the same network."""
    if group.method in (None, ALONE):
        return None
    same_network = [other for other in groups if other.method == ALONE and other.network == group.network]

    def differences(other: Group) -> int:
        return sum(other.options.get(key) != group.options.get(key) for key in group.options)

    return min(same_network, key=differences, default=None)


def find_teacher_run(run: Run, runs: Sequence[Run]) -> Run | None:
    """The run that taught another, if it is among those; also after all of them were moved together."""
    if (name := run.config.get("teacher")) is None:
        return None
    by_folder = {other.folder.resolve(): other for other in runs}
    return next((by_folder[path.resolve()] for path in teacher_places(run) if path.resolve() in by_folder), None) or (
        next((other for other in runs if other.config.get("output") == name), None)
    )


def teacher_places(run: Run) -> list[Path]:
    """Where a run's teacher may lie: as the run was told, or beside the run if both were moved."""
    path = Path(str(run.config["teacher"]))
    return [path, run.folder.parent / path.name, run.folder.parent.parent / path.name]


def missing_teacher(run: Run) -> bool:
    """Whether the folder or file of the run's teacher is gone."""
    places = teacher_places(run)
    return not any(path.is_file() or RunFolder(path).student.is_file() for path in places)


def changed_options(options: Mapping[str, Any]) -> dict[str, Any]:
    """The options of the method that are not its defaults."""
    method, given = options.get("method"), options.get("options") or {}
    if method is None or method not in METHODS:
        return dict(given)
    defaults = {name: option.default for name, option in method_options(method).items()}
    return {name: value for name, value in given.items() if name not in defaults or value != defaults[name]}


def with_defaults(config: Mapping[str, Any]) -> dict[str, Any]:
    """A run's options, with today's default for each that its version did not have."""
    kind = DistillConfig if "method" in config else TrainConfig
    defaults = {
        item.name: item.default if item.default is not MISSING else None
        for item in fields(kind)
        if item.default is not MISSING or item.name not in config
    }
    plain = {key: list(value) if isinstance(value, tuple) else value for key, value in defaults.items()}
    return {**plain, **config}


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


def _shared_options(run: Run) -> dict[str, Any]:
    options = {key: value for key, value in with_defaults(run.config).items() if key not in _SHARED}
    if "method" in options:
        options["options"] = changed_options(options)
    return options


def _labels(options: Sequence[Mapping[str, Any]], taught: Sequence[bool]) -> list[str]:
    """A name for each group: its method and what is changed of it, and whatever else differs between groups."""
    labels = []
    for own, is_teacher in zip(options, taught, strict=True):
        alike = [other for other in options if ("method" in other) == ("method" in own)]
        varied = [
            key
            for key in own
            if key not in ("method", "options", "student", "network")
            and any(other.get(key) != own[key] for other in alike)
        ]
        network = own.get("student", own.get("network"))
        several = len({other.get("student", other.get("network")) for other in alike}) > 1
        if "method" in own:
            parts = [_title(own["method"]), *[str(network)] * several]
            parts += [f"{name}={_short(value)}" for name, value in own["options"].items()]
        else:
            parts = ["teacher" if is_teacher else "labels alone", *[str(network)] * (several or not is_teacher)]
        labels.append(" ".join([*parts, *(f"{key}={_short(own[key])}" for key in varied)]))
    return labels


def _title(method: str) -> str:
    return "student alone" if method == ALONE else method


def _short(value: Any) -> str:
    return (
        "x".join(map(_short, value))
        if isinstance(value, list)
        else f"{value:g}"
        if isinstance(value, float)
        else str(value)
    )
