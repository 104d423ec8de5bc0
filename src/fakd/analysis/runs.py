"""Finished runs: where they are, and what their folders say."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from fakd.data.plain_yaml import read_yaml
from fakd.evaluation.ensembles import teacher_names
from fakd.training.metrics_file import read_metrics
from fakd.training.run_folder import RunFolder

_NEEDED = ("mIoU", "mAcc", "aAcc", "IoU", "parameters", "seconds", "seconds_per_step")


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

    def result(self, *keys: str) -> float | None:
        """One number of the results, as `result("mIoU")` or `result("IoU", "car")`; None where there is none."""
        found: Any = self.results
        for key in keys:
            found = found.get(key) if found else None
        return None if found is None else float(found)

    @property
    def classes(self) -> tuple[str, ...]:
        """The names of the classes that it was scored on."""
        return tuple(self.results["IoU"])

    @cached_property
    def versions(self) -> dict[str, str]:
        """Of fakd, the libraries, Python and the machine; none where they were not recorded."""
        path = RunFolder(self.folder).versions
        return json.loads(path.read_text()) if path.is_file() else {}


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


def find_runs(folders: Sequence[Path]) -> tuple[list[Run], list[Path]]:
    """Read the runs that lie in the folders, or one or two levels below them.

    Returns:
        The finished runs in the order of the folders, each once, and the folders of the unfinished ones.

    Raises:
        FileNotFoundError: a folder is not there or holds no run, or no run is finished.
        ValueError: a file of a run is damaged, the runs are of different data sets or classes, or one was scored
            without labels.
    """
    found = {path.resolve(): path for folder in folders for path in _expand(folder)}
    finished = [path for path in found.values() if RunFolder(path).results.is_file()]
    unfinished = [path for path in found.values() if path not in finished]
    if not finished:
        raise FileNotFoundError(
            f"none of these runs is finished: {', '.join(map(str, unfinished))}. Go on with them by --resume first."
        )
    runs = [_read(path) for path in finished]
    _require_one_data_set(runs)
    return runs, unfinished


def _expand(folder: Path) -> list[Path]:
    """The folder itself if it is a run, else the runs in it."""
    if not folder.is_dir():
        raise FileNotFoundError(f"there is no folder {folder}; name run folders, or the folder that holds them.")
    if RunFolder(folder).config.is_file():
        return [folder]
    configs = [*folder.glob("*/config.yaml"), *folder.glob("*/*/config.yaml")]
    if not configs:
        raise FileNotFoundError(
            f"{folder} is no run and holds none: expected a folder with config.yaml and results.json, or one whose "
            "subfolders have them."
        )
    return sorted(config.parent for config in configs)


def _read(folder: Path) -> Run:
    try:
        run = read_run(folder)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"the run {folder} cannot be read, one of its files is damaged: {error}") from error
    for name, content, needed in (
        ("config.yaml", run.config, ("dataset", "seed")),
        ("results.json", run.results, _NEEDED),
    ):
        missing = [key for key in needed if not isinstance(content, Mapping) or key not in content]
        if missing:
            raise ValueError(f"{folder / name} has no {', '.join(missing)}: it was not written by fakd, or is damaged.")
    _require_labels(run)
    return run


def _require_labels(run: Run) -> None:
    """Refuse a run whose scores are no mIoU, as pages and figures would call them."""
    if "scored_against" in run.results:
        raise ValueError(
            f"{run.folder} was scored on its agreement with the teacher, and not on labels, which this needs: score "
            "the network on a labelled data set by `fakd evaluate`, or have its masks by `fakd predict`."
        )


def _require_one_data_set(runs: Sequence[Run]) -> None:
    by_data: dict[Any, list[str]] = {}
    for run in runs:
        by_data.setdefault((run.config["dataset"], *run.classes), []).append(run.folder.name)
    if len(by_data) > 1:
        lines = "".join(f"\n  {key[0]}, {len(key) - 1} classes: {', '.join(names)}" for key, names in by_data.items())
        raise ValueError(
            f"the runs are of different data sets, or of other classes; take those of one at a time:{lines}"
        )


def find_teacher_run(run: Run, runs: Sequence[Run]) -> Run | None:
    """The run that taught another alone, if it is among those; also after all of them were moved together."""
    names = teacher_names(run.config.get("teacher") or ())
    if len(names) != 1:
        return None
    by_folder = {other.folder.resolve(): other for other in runs}
    return next((by_folder[path.resolve()] for path in teacher_places(run) if path.resolve() in by_folder), None) or (
        next((other for other in runs if other.config.get("output") == names[0]), None)
    )


def teacher_places(run: Run, name: str | None = None) -> list[Path]:
    """Where a run's teachers, or the one of that name, may lie: as the run was told, or beside it if all were moved."""
    beside = (run.folder.parent, run.folder.parent.parent)
    paths = map(Path, teacher_names(run.config["teacher"] if name is None else name))
    return [place for path in paths for place in (path, *(folder / path.name for folder in beside))]
