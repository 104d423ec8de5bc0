"""When a run folder may be written to: what --resume, --overwrite and neither accept."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
import yaml

from fakd.console import is_main_process, say
from fakd.data.plain_yaml import read_yaml
from fakd.files.atomic import write_json, write_text
from fakd.training.config import RunConfig
from fakd.training.metrics_file import cut_torn_rows
from fakd.training.recipe import before_recipes, read_recipe
from fakd.training.run_folder import RunFolder, installed_versions, read_json

# What may differ between a run and its resumption: where and how fast it runs, not what it computes.
_FREE_ON_RESUME = {
    "output",
    "resume",
    "overwrite",
    "workers",
    "cache_images",
    "check_data",
    "allow_changed_data",
    "allow_bad_teacher",
    "log_every",
    "keep_checkpoints",
    "tracker",
    "tracker_group",
}
_PATHS = {"data_root", "teacher", "init", "backbone_weights", "teacher_cache", "class_map", "teacher_classes"}
_PATHS |= {"unlabelled", "class_weights"}
_INPUTS = {
    "classes": "the classes of the data set",
    "teacher": "the teacher's weights, or what the class map makes of its classes,",
}
_DATA = ("train", "val", "without labels")


def prepare_folder(config: RunConfig, inputs: Mapping[str, str] | None = None) -> RunFolder:
    """Make the run folder, or accept the one that is to be resumed; write the resolved config, inputs and versions.

    Args:
        config: of the run.
        inputs: what `run_inputs` and `data_inputs` give for it.

    Raises:
        FileExistsError: the folder holds something and neither resume nor overwrite was asked for.
        ValueError: the run to resume was started with other options.
    """
    folder = RunFolder(config.output)
    if not is_main_process():
        return folder
    if check_folder(config, folder):
        if config.overwrite:
            folder.delete()
        else:
            _take_threads(read_json(folder.versions).get("threads"))
    folder.root.mkdir(parents=True, exist_ok=True)
    for left in folder.unfinished():
        left.unlink()
    cut_torn_rows(folder.logs)
    write_json(folder.versions, installed_versions())  # first, as it is what tells the others from a user's own
    write_json(folder.inputs, inputs or {})
    # Without what was asked of this folder: whoever starts from this file must not delete a run by it.
    options = {**config.to_dict(), "resume": False, "overwrite": False, "allow_changed_data": False}
    write_text(folder.config, yaml.safe_dump(options, sort_keys=False))
    return folder


def check_folder(config: RunConfig, folder: RunFolder) -> bool:
    """Look whether a run may be written to the folder; nothing is changed.

    Returns:
        Whether a run is there already, to be resumed or overwritten.

    Raises:
        FileExistsError: the folder holds something and neither resume nor overwrite was asked for.
        ValueError: the run to resume was started with other options, or by the other command.
    """
    if folder.root.exists() and not folder.root.is_dir():
        raise FileExistsError(f"{folder.root} is a file; give a folder with --output.")
    # These alone are left by a start that failed before its first step, as on a teacher that was refused.
    ours = {
        *folder.unfinished(),
        *folder.root.glob(f"{folder.lock.name}*"),
        *((folder.config, folder.versions, folder.inputs) if folder.begun else ()),
    }
    occupied = any(path.is_file() and path not in ours for path in folder.root.rglob("*"))
    if occupied and config.overwrite:
        if not (folder.begun and folder.config.is_file()):
            raise FileExistsError(f"{folder.root} holds files but no run; it is not deleted. Choose another --output.")
    elif occupied and config.resume:
        if not folder.holds_run:
            return False  # what lies there is somebody else's, beside which a run may begin
        check_same_options(config, folder)
    elif occupied:
        raise FileExistsError(
            f"{folder.root} is not empty. Go on with it by --resume, replace it by --overwrite, "
            "or choose another folder by --output."
        )
    return occupied


def check_same_options(config: RunConfig, folder: RunFolder) -> None:
    """Compare with what the run in the folder was started with.

    Raises:
        ValueError: an option that changes the outcome differs, or the folder is no run, or of the other command.
    """
    given, now = _begun_with(folder), config.to_dict()
    commands = ["distill" if "teacher" in options else "train" for options in (given, now)]
    if commands[0] != commands[1]:
        raise ValueError(
            f"{folder.root} was begun by `fakd {commands[0]}`, and this is `fakd {commands[1]}`. Go on with it by "
            "that command, or give another --output."
        )
    # an option that the earlier start did not know had its default
    before = config.defaults() | before_recipes() | given

    def same(key: str) -> bool:
        if key in _PATHS and before.get(key) and now[key]:
            return _resolved(before[key]) == _resolved(now[key])
        return bool(before.get(key) == now[key])

    changed = [key for key in now if key not in _FREE_ON_RESUME and not same(key)]
    if changed:
        changes = ", ".join(f"{key} was {before.get(key)!r} and is {now[key]!r}" for key in changed)
        by_images = "max_steps" in changed and read_recipe(config.recipe or "paper").passes is not None
        why = f" Have images come or gone since? Then give --max-steps {before['max_steps']} too." if by_images else ""
        raise ValueError(
            f"{folder.root} was started with other options: {changes}. Give the same, or another --output.{why}"
        )


def _resolved(paths: str | list[str | None]) -> list[Path | None]:
    return [None if path is None else Path(path).resolve() for path in ([paths] if isinstance(paths, str) else paths)]


def _begun_with(folder: RunFolder) -> dict[str, Any]:
    """The options of the run in the folder.

    Raises:
        ValueError: it has none.
    """
    if not folder.config.is_file():
        raise ValueError(f"{folder.root} cannot be resumed: it has no config.yaml.")
    options = read_yaml(folder.config)
    if not isinstance(options, dict) or "dataset" not in options:
        raise ValueError(
            f"{folder.root} cannot be resumed: its config.yaml is damaged, or of another program; expected the options "
            "of a run. Give another --output."
        )
    return options


def check_same_inputs(config: RunConfig, inputs: Mapping[str, str]) -> None:
    """Compare what a run that is to be resumed was begun with; runs of earlier releases do not say.

    Args:
        config: of the run.
        inputs: what it would read now: `run_inputs` and `data_inputs`.

    Raises:
        ValueError: it is no longer the same, and not only in what --allow-changed-data allows.
    """
    folder = RunFolder(config.output)
    before = read_json(folder.inputs) if config.resume and is_main_process() else {}
    changed = [name for name in inputs if before.get(name, inputs[name]) != inputs[name]]
    data = [_change(name, before[name], inputs[name]) for name in changed if name in _DATA]
    others = [_INPUTS[name] for name in changed if name in _INPUTS]
    if data and config.allow_changed_data:
        say(f"data      changed since the run was begun: {'; '.join(data)}", style="yellow")
    elif data and not others:
        raise ValueError(
            f"{folder.root} cannot be resumed: the data have changed since it was begun: {'; '.join(data)}. Put back "
            "what was there, or go on with what is there now by --allow-changed-data; or start anew with --overwrite, "
            "or give another --output."
        )
    if others:
        raise ValueError(
            f"{folder.root} cannot be resumed: {' and '.join(others)} have changed since it was begun. Put back what "
            "was there, or start anew with --overwrite, or give another --output."
        )


def _change(split: str, before: str, now: str) -> str:
    (had, *_), (has, *_) = before.split(), now.split()
    return f"{split} had {had} images and has {has}" if had != has else f"{split} has other files"


def _take_threads(number: Any) -> None:
    """Compute with as many threads as the run began with, since the last bits of sums depend on it."""
    if isinstance(number, str) and number.isdecimal() and int(number) and "OMP_NUM_THREADS" not in os.environ:
        torch.set_num_threads(int(number))
