"""The run folder: what lies where, and when it may be written to."""

import json
import os
import platform
from collections.abc import Mapping
from contextlib import suppress
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
import yaml

from fakd.console import is_main_process, say
from fakd.data.plain_yaml import read_yaml
from fakd.files.atomic import written_at_once
from fakd.files.deleting import delete_files
from fakd.models.network import RUN_FILE
from fakd.training.config import RunConfig
from fakd.training.metrics_file import cut_torn_rows
from fakd.training.recipe import before_recipes, read_recipe
from fakd.training.tracker_options import PACKAGES

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
NONFINITE = "nonfinite"
_PATHS = {"data_root", "teacher", "init", "backbone_weights", "teacher_cache", "class_map", "teacher_classes"}
_PATHS |= {"unlabelled", "class_weights"}
_INPUTS = {
    "classes": "the classes of the data set",
    "teacher": "the teacher's weights, or what the class map makes of its classes,",
}
_DATA = ("train", "val", "without labels")

_CHECKPOINTS = ("last.ckpt", "best.ckpt", "previous.ckpt", "previous-*.ckpt")
_LOGS = ("csv/*/metrics.csv", "tensorboard/events.out.tfevents.*", "wandb/**/*", *(f"{name}.json" for name in PACKAGES))


class RunFolder:
    """Paths inside a run folder.

    config.yaml        every option, resolved
    versions.json      of this package, the libraries, Python and the machine
    inputs.json        digests of what the options only name: the teacher, the classes
    checkpoints/       last.ckpt to resume from, and until the run is finished previous.ckpt, the one before it, and
                       if more are to be kept, previous-2.ckpt and so on; best.ckpt by mIoU on val
    logs/              metrics as CSV, one folder per start of the run; TensorBoard events; the id of a tracked run
    nonfinite/         where the loss became infinite or NaN: what `fakd replay` needs to compute it again
    student.safetensors  the trained network alone
    results.json       its scores, size and cost
    run.lock           while a process writes all that: which one
    """

    def __init__(self, root: Path | None) -> None:
        assert root is not None  # RunConfig resolves it
        self.root = root
        self.config = root / "config.yaml"
        self.versions = root / "versions.json"
        self.inputs = root / "inputs.json"
        self.checkpoints = root / "checkpoints"
        self.last = self.checkpoint(0)
        self.previous = self.checkpoint(1)
        self.best = self.checkpoints / "best.ckpt"
        self.logs = root / "logs"
        self.nonfinite = root / NONFINITE
        self.student = root / RUN_FILE
        self.results = root / "results.json"
        self.lock = root / "run.lock"

    def checkpoint(self, age: int) -> Path:
        """Where the checkpoint lies after which so many were written."""
        return self.checkpoints / ("last.ckpt" if age == 0 else "previous.ckpt" if age == 1 else f"previous-{age}.ckpt")

    def found_checkpoints(self) -> list[Path]:
        """Those to resume from, the newest first."""
        found = [path for path in (self.last, self.previous) if path.is_file()]
        older = self.checkpoints.glob("previous-*.ckpt")
        return found + sorted(older, key=lambda path: int(path.stem.removeprefix("previous-")))

    @property
    def begun(self) -> bool:
        """Whether a run began here; a config.yaml alone may be of any other program, or a user's own."""
        return "fakd" in _read_json(self.versions)

    @property
    def holds_run(self) -> bool:
        """Whether something is there that a run has written, or is named so."""
        files = (self.config, self.versions, self.student, self.results, *self.found_checkpoints())
        return any(file.is_file() for file in files)

    def delete(self) -> None:
        """Delete what the run wrote, and no other file; what it is known by goes last, in case this is interrupted."""
        for file in (self.results, self.student, *self.unfinished()):
            file.unlink(missing_ok=True)
        steps = ("step-*.pt",)
        for folder, patterns in ((self.checkpoints, _CHECKPOINTS), (self.logs, _LOGS), (self.nonfinite, steps)):
            if folder.is_symlink():
                folder.unlink()  # what it points to may be shared
            else:
                delete_files(folder, patterns)
        for file in (self.inputs, self.config, self.versions):
            file.unlink(missing_ok=True)
        with suppress(OSError):  # somebody else's files are there, or this process is at work in it
            self.root.rmdir()

    def unfinished(self) -> list[Path]:
        """What a process that was killed had begun to write."""
        files = (self.config, self.versions, self.inputs, self.student, self.results)
        beside = [path for file in files for path in self.root.glob(f".{file.name}.*.tmp")]
        folders = (self.checkpoints, self.logs, self.nonfinite)
        return beside + [path for folder in folders for path in folder.rglob(".*.tmp")]


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
            _take_threads(_read_json(folder.versions).get("threads"))
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


def write_json(path: Path, content: Any) -> None:
    """Write JSON so that no reader ever sees half of it."""
    write_text(path, json.dumps(content, indent=2) + "\n")


def write_text(path: Path, text: str) -> None:
    """Write text so that no reader ever sees half of it."""
    with written_at_once(path) as temporary:
        temporary.write_text(text)


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
    before = _read_json(folder.inputs) if config.resume and is_main_process() else {}
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


def _read_json(path: Path) -> dict[str, Any]:
    """What a file says; nothing where there is none, or it is damaged or another program's."""
    try:
        content = json.loads(path.read_text())
    except (OSError, ValueError):
        return {}
    return content if isinstance(content, dict) else {}


_LIBRARIES = ("fakd", "torch", "torchvision", "timm", "lightning-fabric")


def installed_versions() -> dict[str, str]:
    """Each by its name; the machine, and the threads that PyTorch has on it."""
    versions = {name: version(name) for name in _LIBRARIES}
    versions["python"] = platform.python_version()
    versions["machine"] = f"{platform.system()} {platform.machine()}, {os.cpu_count()} cores"
    versions["threads"] = str(torch.get_num_threads())
    if torch.cuda.is_available():
        versions["gpu"] = torch.cuda.get_device_name()
    return versions
