"""The metrics of a run as CSV: no row is lost that a checkpoint counts on, wherever the run is killed."""

import csv
import os
from pathlib import Path

from lightning_fabric.loggers.csv_logs import CSVLogger, _ExperimentWriter
from lightning_fabric.loggers.logger import rank_zero_experiment

from fakd.files.atomic import written_at_once


class MetricsFile(CSVLogger):
    """Lightning's CSV logger, whose every row is on the disk before the checkpoint of its step."""

    @property
    @rank_zero_experiment
    def experiment(self) -> _ExperimentWriter:
        """The file, made when it is first asked for."""
        if self._experiment is None:
            self._experiment = _Rows(self.log_dir)
        return self._experiment


class _Rows(_ExperimentWriter):
    def save(self) -> None:
        """Write the rows, and wait for the disk."""
        if not self.metrics:
            return
        try:
            super().save()
            with open(self.metrics_file_path, "rb+") as file:
                os.fsync(file.fileno())
        finally:
            self.metrics = []  # where the disk is full, Lightning would write them again as it ends, behind a torn row

    def _rewrite_with_new_header(self, fieldnames: list[str]) -> None:
        """Add columns; Lightning's own would first empty the file."""
        path = Path(self.metrics_file_path)
        with path.open(newline="") as file:
            rows = list(csv.DictReader(file))
        with written_at_once(path) as temporary, temporary.open("w", newline="") as file:
            writer = csv.DictWriter(file, fieldnames=fieldnames)
            writer.writeheader()
            writer.writerows(rows)


def cut_torn_rows(logs: Path) -> None:
    """Take away the last row of each file where a run was killed, or its disk was full, while that was written.

    Its step comes after the last checkpoint, so the row is written anew.
    """
    for path in logs.glob("csv/*/metrics.csv"):
        content = path.read_bytes()
        whole = content.rfind(b"\n") + 1
        if whole < len(content):
            os.truncate(path, whole)


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
