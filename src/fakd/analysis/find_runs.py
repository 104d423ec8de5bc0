"""From what the user names to the finished runs in it."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from fakd.analysis.runs import Run, read_run
from fakd.training.run_folder import RunFolder

_NEEDED = ("mIoU", "mAcc", "aAcc", "IoU", "parameters", "seconds", "seconds_per_step")


def find_runs(folders: Sequence[Path]) -> tuple[list[Run], list[Path]]:
    """Read the runs that lie in the folders, or one or two levels below them.

    Returns:
        The finished runs in the order of the folders, each once, and the folders of the unfinished ones.

    Raises:
        FileNotFoundError: a folder is not there or holds no run, or no run is finished.
        ValueError: a file of a run is damaged, or the runs are of different data sets.
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
    return run


def _require_one_data_set(runs: Sequence[Run]) -> None:
    by_data: dict[Any, list[str]] = {}
    for run in runs:
        by_data.setdefault((run.config["dataset"], *run.results["IoU"]), []).append(run.folder.name)
    if len(by_data) > 1:
        lines = "".join(f"\n  {key[0]}, {len(key) - 1} classes: {', '.join(names)}" for key, names in by_data.items())
        raise ValueError(f"the runs are of different data sets; make one report for each:{lines}")
