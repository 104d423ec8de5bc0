"""`fakd analyze`: where runs differ, as figures and as numbers."""

import json
from collections.abc import Mapping
from dataclasses import KW_ONLY, dataclass, field
from pathlib import Path
from typing import Any, Literal

from matplotlib import rc_context
from matplotlib.figure import Figure

from fakd.analysis.all_figures import analyze_groups
from fakd.analysis.cached_counts import CachedCounts
from fakd.analysis.figures.style import STYLE
from fakd.analysis.groups import find_baseline, group_runs
from fakd.analysis.runs import find_runs
from fakd.analysis.statistics import Spread, spread_text
from fakd.analysis.tables import rich_lines
from fakd.console import console, say
from fakd.evaluation.predictor import Device, pick_device
from fakd.files.atomic import write_json, written_at_once
from fakd.options import Output, Paths, check_least

Format = Literal["png", "pdf", "svg"]
_NUMBERS = "analysis.json"


@dataclass
class AnalyzeConfig:
    """Show where finished runs differ: by class, at boundaries, in confidence, in features and their covariance.

    Runs that differ only in their seed are one method. OUTPUT/cache keeps what was counted; delete it after the data
    set was changed.
    """

    runs: Paths = field(default_factory=list)
    """Run folders, or folders that hold run folders, as the output of a comparison does; all of one data set."""
    _: KW_ONLY
    output: Output = Path("analysis")
    """Folder to write to: one file a figure, and analysis.json with all numbers."""
    baseline: str | None = None
    """The student alone, which gains are over: the folder of one of its runs, or its name in the figures; by default
    the runs with method none."""
    data_root: Path | None = None
    """Folder of the data set; by default where the runs had it."""
    images: int = 4
    """How many validation images to show features of."""
    band: int = 3
    """Width of the band around boundaries between classes, in pixels of the labels."""
    bins: int = 15
    """Number of bins of confidence for calibration."""
    format: Format = "png"
    """File type of the figures."""
    workers: int = 2
    """Loader processes."""
    device: Device = "auto"
    """Where to compute."""


def analyze(config: AnalyzeConfig) -> dict[str, Any]:
    """Write the figures and analysis.json, and print the key numbers.

    Figures for which there is nothing are left out: those of gains where no run is the student alone, or it is the only
    one; the covariance where no run has one.

    Returns:
        What analysis.json holds.

    Raises:
        ValueError: an option is out of range, no run is named, runs do not belong together, or the baseline is none of
            them.
        FileNotFoundError: a folder holds no run, or no run is finished.
        FileExistsError: the output folder holds something that is no analysis.
        DataError: the data set is not as it should be.
    """
    _check(config)
    runs, unfinished = find_runs([Path(folder) for folder in config.runs])
    for folder in unfinished:
        say(f"left out  {folder}: not finished", style="yellow")
    groups = group_runs(runs)
    baseline = find_baseline(groups, config.baseline)
    if baseline is not None:
        groups = [baseline, *(group for group in groups if group is not baseline)]
    counts = CachedCounts(
        [run for group in groups for run in group.runs],
        config.data_root,
        device=pick_device(config.device),
        workers=config.workers,
        band=config.band,
        bins=config.bins,
        cache=config.output / "cache",
    )
    with rc_context(dict(STYLE)):  # type: ignore[arg-type]  # lists every setting there is
        figures, numbers = analyze_groups(groups, baseline, counts, images=config.images)
        files = _write(figures, config)
    numbers = {
        "dataset": counts.spec.name,
        "classes": list(counts.spec.classes),
        "baseline": baseline and baseline.label,
        "band": config.band,
        "runs": {group.label: [str(run.folder) for run in group.runs] for group in groups},
        **numbers,
        "files": files,
    }
    write_json(config.output / _NUMBERS, numbers)
    _print(numbers, config)
    return numbers


def _check(config: AnalyzeConfig) -> None:
    if not config.runs:
        raise ValueError("no run was given: name one or more folders of finished runs.")
    check_least(config, images=0, band=1, bins=1, workers=0)
    output = config.output = Path(config.output)
    if output.is_file():
        raise FileExistsError(f"{output} is a file; give a folder with --output.")
    ours = {_NUMBERS, "cache"}
    if output.is_dir() and any(output.iterdir()) and not ours & {path.name for path in output.iterdir()}:
        raise FileExistsError(f"{output} is not empty and holds no analysis. Choose another folder with --output.")


def _write(figures: Mapping[str, Figure], config: AnalyzeConfig) -> dict[str, str]:
    """Write every figure; those of an earlier analysis in the folder go, so that none is taken for a new one."""
    numbers = config.output / _NUMBERS
    if numbers.is_file():
        for name in json.loads(numbers.read_text()).get("files", {}).values():
            (config.output / Path(name).name).unlink(missing_ok=True)  # of this folder, whatever the file says
    files = {name: f"{name}.{config.format}" for name in figures}
    for name, figure in figures.items():
        with written_at_once(config.output / files[name]) as temporary:
            figure.savefig(temporary, format=config.format)
    return files


def _print(numbers: Mapping[str, Any], config: AnalyzeConfig) -> None:
    band = numbers["band"]
    heads = ["mIoU %", "hard", "easy", "edge %", "inside %", "ECE %", "rarity"]
    lines = [["", *heads]]
    gains, rare = numbers.get("class_gains"), numbers.get("rare_classes")
    for method, mean in numbers["mIoU"].items():
        boundary = numbers["boundary"][method]
        gained = ["", ""]
        if gains and method in gains["hard"]:
            gained = ["-" if (value := gains[half][method]) is None else f"{value:+.1f}" for half in ("hard", "easy")]
        correlation = rare and rare["rank_correlation"].get(method)
        accuracy = (_text(boundary[f"{place}_accuracy"], sd=False) for place in ("boundary", "interior"))
        rarity = f"{correlation['rho']:+.2f}" if correlation else ""
        lines.append([method, _text(mean), *gained, *accuracy, _text(numbers["calibration"][method]["ECE"]), rarity])
    console.print(rich_lines(lines, numbers["dataset"]))
    say(f"edge, inside: pixel accuracy within {band} pixels of a boundary between classes, and elsewhere")
    if gains:
        say(f"hard, easy: points of IoU over {numbers['baseline']}, mean of the harder and the easier half of classes")
        say("rarity: rank correlation of gain and training pixels; below 0, rare classes gained more")
    else:
        say("no figures of gains: there is no student alone among the runs, or nothing to compare with it")
    say(f"written to {config.output}: {', '.join(numbers['files'].values())}, {_NUMBERS}")


def _text(found: Mapping[str, float | None], sd: bool = True) -> str:
    mean = found["mean"]
    return spread_text(None if mean is None else Spread(mean, found["sd"] if sd else None), 1)
