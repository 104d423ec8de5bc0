"""Runs that differ in their seed alone are one group; groups are what a reader compares."""

import json
import re
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from fakd.analysis.run_options import changed_options, with_defaults
from fakd.analysis.runs import Run, find_teacher_run
from fakd.analysis.statistics import Difference, Spread, holm, paired_difference, spread
from fakd.data import get_dataset
from fakd.evaluation.ensembles import teacher_title
from fakd.methods import METHODS
from fakd.models import open_model
from fakd.models.cost import measure_cost

ALONE = "none"
"""The method of the student alone, which others are compared with."""
UNREADABLE = (ValueError, OSError, ModuleNotFoundError)
"""What files that are gone, damaged or of another kind raise."""

# What does not make a run another one: its seed, where it lies, and how it was carried out.
_SHARED = {
    *("seed", "output", "resume", "overwrite", "data_root", "workers", "check_data", "accelerator", "devices"),
    *("num_nodes", "eval_every", "checkpoint_every", "keep_checkpoints", "log_every", "allow_bad_teacher"),
    *("cache_images", "channels_last", "compile", "tracker", "tracker_group"),
}


@dataclass(frozen=True, eq=False)
class Group:
    """Runs of several seeds of one student, method and options; or a teacher, as its students' runs have scored it."""

    label: str
    """Short, and different from that of all others with the same network."""
    options: Mapping[str, Any]
    """Every option that the runs share, with today's default where their version had no such option."""
    runs: Sequence[Run]
    """In order of seeds; a teacher that only its students' runs tell of is a run without a seed."""
    is_teacher: bool = False
    """Whether other groups learnt from it."""
    baseline: "Group | None" = None
    """What it is compared with."""

    @property
    def method(self) -> str | None:
        """Name of the method; None if the network was trained on labels by `fakd train`."""
        return self.options.get("method")

    @property
    def network(self) -> str:
        """Name of the network that learnt."""
        return str(self.options["student" if self.method else "network"])

    @property
    def classes(self) -> tuple[str, ...]:
        """The names of the classes that the runs were scored on."""
        return self.runs[0].classes

    @cached_property
    def by_seed(self) -> dict[int, Run]:
        """The first run of each seed."""
        found: dict[int, Run] = {}
        for run in self.runs:
            if "seed" in run.config:
                found.setdefault(run.config["seed"], run)
        return found

    def spread(self, *keys: str) -> Spread | None:
        """Mean and deviation of a result, as `spread("mIoU")` or `spread("IoU", "car")`; None if no run has it."""
        return spread(run.result(*keys) for run in self.runs)

    def gain(self, *keys: str) -> Difference | None:
        """Mean difference to the baseline over the seeds that both have, and its confidence interval.

        Without such seeds it is the difference of the means. None if no run of one group has the value.
        """
        if self.baseline is None:
            return None
        pairs = [
            {seed: known for seed, run in group.by_seed.items() if (known := run.result(*keys)) is not None}
            for group in (self, self.baseline)
        ]
        if found := paired_difference(*pairs):
            return found
        ours, theirs = self.spread(*keys), self.baseline.spread(*keys)
        return None if ours is None or theirs is None else Difference(ours.mean - theirs.mean, None, None, 0)

    @property
    def budget(self) -> int | None:
        """How many crops its runs were to train on; None where nothing says it."""
        options = with_defaults(self.runs[0].config)
        steps, crops = options["max_steps"], options["batch_size"]
        return int(steps) * int(crops) if steps and crops else None

    @property
    def parameters(self) -> int | None:
        """How many the network has; None where nothing says it."""
        return self.runs[0].results.get("parameters")

    @cached_property
    def giga_macs(self) -> float | None:
        """Billion multiply-accumulates for one image of the training crops' size; None without a readable network."""
        for run in self.runs:  # of some the weights may have been thrown away
            root = run.config.get("data_root")
            with suppress(*UNREADABLE):
                size = run.config.get("crop_size") or get_dataset(run.config["dataset"], root and Path(root)).crop_size
                return measure_cost(open_model(run.folder)[0], (size[0], size[1])).macs / 1e9
        return None

    @property
    def slug(self) -> str:
        """The label as part of a file's name."""
        return re.sub(r"[^\w.]+", "-", self.label).strip("-")

    def class_iou(self) -> dict[str, Spread | None]:
        """Every class's IoU in percent; None where no run could be scored."""
        return {name: self.spread("IoU", name) for name in self.classes}


def teacher_group(label: str, network: str, run: Run, costs: Mapping[str, Any] | None = None) -> Group:
    """The teacher of a run as that has scored it.

    Args:
        label: of the group.
        network: name of its architecture.
        run: which it taught.
        costs: what is known beside its scores, as parameters.
    """
    config = {name: run.config.get(name) for name in ("dataset", "data_root", "crop_size")}
    results = {**run.results["teacher"], **(costs or {})}
    told = Run(Path(teacher_title(run.config["teacher"])), config, results, {})
    return Group(label, {"dataset": run.config["dataset"], "network": network}, [told], is_teacher=True)


def gains(groups: Sequence[Group], name: str) -> dict[Group, Difference]:
    """What each group gains in a score, where it has a baseline.

    The p-values are corrected by Holm's method, for as many as meet the same baseline.
    """
    found = {group: gain for group in groups if (gain := group.gain(name)) is not None}
    for baseline in {group.baseline for group in found}:
        family = [group for group in found if group.baseline is baseline and found[group].p is not None]
        for group, p in zip(family, holm([found[group].p or 0 for group in family]), strict=True):
            found[group] = found[group]._replace(p=p)
    return found


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
    """Group runs: teachers first, then the student alone, then the methods in their usual order.

    The baseline of a method is the student alone of the same options, or at least of the same network.
    """
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
    groups.sort(
        key=lambda group: (
            not group.is_teacher,
            group.network if group.method else "",
            order.index(group.method) if group.method in order else len(order),
            len(group.label),
        ),
    )
    return [replace(group, baseline=alone) if (alone := _find_alone(group, groups)) else group for group in groups]


def _find_alone(group: Group, groups: Sequence[Group]) -> Group | None:
    if group.method in (None, ALONE):
        return None
    same_network = [
        other
        for other in groups
        if other.method == ALONE and other.network == group.network and other.budget == group.budget
    ]

    def differences(other: Group) -> int:
        return sum(other.options.get(key) != group.options.get(key) for key in group.options)

    return min(same_network, key=differences, default=None)


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
        named = ("method", "options", "student", "network")
        network, networks = _network(own), [_network(other) for other in alike]
        same = [other for other in alike if _network(other) == network]  # what others differ in is no news of this one
        varied = [key for key in own if key not in named and any(other.get(key) != own[key] for other in same)]
        several = len(set(networks)) > 1
        if "method" in own:
            parts = [method_title(own["method"]), *[str(network)] * several]
            parts += [f"{name}={_short(value)}" for name, value in own["options"].items()]
        else:
            parts = ["teacher" if is_teacher else "labels alone", *[str(network)] * (several or not is_teacher)]
        labels.append(" ".join([*parts, *(f"{key}={_short(own[key])}" for key in varied)]))
    return labels


def _network(options: Mapping[str, Any]) -> Any:
    return options.get("student", options.get("network"))


def method_title(method: str) -> str:
    """What tables call a method."""
    return "student alone" if method == ALONE else method


def _short(value: Any) -> str:
    if isinstance(value, list):
        return (" + " if any(isinstance(one, str) for one in value) else "x").join(map(_short, value))
    return f"{value:g}" if isinstance(value, float) else str(value)
