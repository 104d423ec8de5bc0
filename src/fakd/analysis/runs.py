"""What a run folder says about its run."""

import csv
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fakd.data.plain_yaml import read_yaml


@dataclass(frozen=True)
class Run:
    """A finished run."""

    folder: Path
    config: dict[str, Any]
    """Every option, resolved."""
    results: dict[str, Any]
    """mIoU, mAcc, aAcc, IoU and acc by class in percent; parameters, steps, seconds."""
    metrics: dict[str, list[tuple[int, float]]]
    """(step, value) by name, as loss/ce and val/mIoU."""


def read_run(folder: Path) -> Run:
    """Read a finished run.

    Raises:
        FileNotFoundError: there is no finished run in the folder.
    """
    for name in ("config.yaml", "results.json"):
        if not (folder / name).is_file():
            raise FileNotFoundError(f"{folder} is not a finished run: it has no {name}.")
    config = read_yaml(folder / "config.yaml")
    return Run(folder, config, json.loads((folder / "results.json").read_text()), read_metrics(folder))


def read_metrics(folder: Path) -> dict[str, list[tuple[int, float]]]:
    """The logged values of a run, of all its starts: each start replaces what came after its first step before.

    Returns:
        (step, value) by name, in order of steps.
    """
    values: dict[str, dict[int, float]] = {}
    for part in sorted(folder.glob("logs/csv/*/metrics.csv")):
        with part.open(newline="") as file:
            rows = list(csv.DictReader(file))
        first = min((int(row["step"]) for row in rows), default=0)
        for series in values.values():
            for step in [step for step in series if step >= first]:
                del series[step]
        for row in rows:
            for name, value in row.items():
                if value and name not in ("epoch", "step"):
                    values.setdefault(name, {})[int(row["step"])] = float(value)
    return {name: sorted(series.items()) for name, series in values.items() if series}
