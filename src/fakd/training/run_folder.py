"""The run folder: what lies where."""

import json
import os
import platform
from contextlib import suppress
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch

from fakd.files.deleting import delete_files
from fakd.models.network import RUN_FILE
from fakd.training.tracker_options import PACKAGES

NONFINITE = "nonfinite"
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
        return "fakd" in read_json(self.versions)

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


def read_json(path: Path) -> dict[str, Any]:
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
