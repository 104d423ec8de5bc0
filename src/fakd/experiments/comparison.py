"""What a grid of runs says: a row for the teacher, and one for each student, method and its options."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fakd.analysis.paper_rows import PaperRow
from fakd.analysis.published import published_student, published_teacher, teacher_network
from fakd.analysis.runs import Run, read_run
from fakd.analysis.statistics import Difference, Spread, paired_difference, spread
from fakd.experiments.grid_config import Arm, GridConfig
from fakd.experiments.run_queue import Failure
from fakd.models import Network, load_model, open_model
from fakd.models.cost import measure_cost
from fakd.training.run_folder import RunFolder

SCORES = ("mIoU", "mAcc")


@dataclass(frozen=True)
class Row:
    """One row of the table."""

    label: str
    student: str
    """The network, also that of the teacher's row."""
    method: str | None
    """None in the teacher's row."""
    options: Mapping[str, Any]
    baseline: str | None
    """Label of the row that it is compared with."""
    runs: Mapping[int, Run]
    """Finished runs by seed."""
    scores: Mapping[str, Spread]
    differences: Mapping[str, Difference]
    """By score; without those that no common seed gives."""
    parameters: int
    gmacs: float
    """Billion multiply-accumulates for one image of the crops' size."""
    steps: int | None
    seconds_per_step: Spread | None
    seconds: Spread | None
    peak_memory: Spread | None
    """Bytes."""
    paper: PaperRow | None


@dataclass(frozen=True)
class Comparison:
    """A table and what it was made from."""

    config: GridConfig
    rows: Sequence[Row]
    """The teacher first, if any run is finished, which says its scores."""
    failures: Sequence[Failure]
    command: Sequence[str]

    def students(self) -> list[Row]:
        """The rows but for the teacher's."""
        return [row for row in self.rows if row.method is not None]


def compare_runs(
    config: GridConfig,
    arms: Sequence[Arm],
    runs: Mapping[tuple[str, int], Run],
    failures: Sequence[Failure],
    command: Sequence[str],
) -> Comparison:
    """Put runs together as a table.

    Args:
        config: what was asked for.
        arms: the rows, in order.
        runs: finished ones by the name of the arm and the seed; at least one.
        failures: the others.
        command: the words of the command line.
    """
    by_arm = {
        arm.name: {seed: runs[arm.name, seed] for seed in config.seed_list if (arm.name, seed) in runs} for arm in arms
    }
    labels = {arm.name: arm.label for arm in arms}
    teacher = teacher_network(config.teacher_path)
    gmacs: dict[str, float] = {}
    rows = []
    for arm in arms:
        if own := by_arm[arm.name]:
            run = next(iter(own.values()))
            if arm.student not in gmacs:
                gmacs[arm.student] = _gmacs(load_model(run.folder)[0], config)
            rows.append(_row(arm, own, by_arm.get(arm.baseline or "", {}), labels, gmacs[arm.student], config, teacher))
    order: dict[str, Callable[[Row], float]] = {
        "given": lambda row: 0,
        "time": lambda row: row.seconds.mean if row.seconds else 0,
        **{name: lambda row, name=name: -row.scores[name].mean for name in SCORES},  # type: ignore[misc]
    }
    rows.sort(key=order[config.sort])
    return Comparison(config, [_teacher_row(config, next(iter(runs.values())), teacher), *rows], failures, command)


def _row(
    arm: Arm,
    runs: Mapping[int, Run],
    baseline: Mapping[int, Run],
    labels: Mapping[str, str],
    gmacs: float,
    config: GridConfig,
    teacher: str | None,
) -> Row:
    def values(name: str, of: Mapping[int, Run] = runs) -> dict[int, float]:
        return {seed: run.results[name] for seed, run in of.items() if run.results.get(name) is not None}

    differences = {name: paired_difference(values(name), values(name, baseline)) for name in SCORES}
    first = next(iter(runs.values()))
    return Row(
        label=arm.label,
        student=arm.student,
        method=arm.method,
        options=arm.options,
        baseline=None if arm.baseline is None else labels[arm.baseline],
        runs=runs,
        scores={name: found for name in SCORES if (found := spread(list(values(name).values())))},
        differences={name: found for name, found in differences.items() if found is not None},
        parameters=first.results["parameters"],
        gmacs=gmacs,
        steps=first.results["steps"],
        seconds_per_step=spread(list(values("seconds_per_step").values())),
        seconds=spread(list(values("seconds").values())),
        peak_memory=spread(list(values("peak_memory").values())),
        paper=published_student(
            config.dataset, teacher, arm.student, config.backbone_weights is None, arm.method, arm.options
        ),
    )


def _teacher_row(config: GridConfig, run: Run, network: str | None) -> Row:
    """The teacher as every run has evaluated it; what its training took, where it was a run."""
    model, _ = open_model(config.teacher_path)
    folder = RunFolder(Path(config.teacher_path))
    own = read_run(folder.root) if folder.config.is_file() and folder.results.is_file() else None
    results = {} if own is None else own.results

    def cost(name: str) -> Spread | None:
        return Spread(results[name], None) if results.get(name) is not None else None

    return Row(
        label="teacher",
        student=network or config.teacher_path,
        method=None,
        options={},
        baseline=None,
        runs={},
        scores={name: Spread(run.results["teacher"][name], None) for name in SCORES},
        differences={},
        parameters=sum(parameter.numel() for parameter in model.parameters()),
        gmacs=_gmacs(model, config),
        steps=results.get("steps"),
        seconds_per_step=cost("seconds_per_step"),
        seconds=cost("seconds"),
        peak_memory=cost("peak_memory"),
        paper=published_teacher(config.dataset, network),
    )


def _gmacs(model: Network, config: GridConfig) -> float:
    return measure_cost(model, config.crop_size or config.spec.crop_size).macs / 1e9
