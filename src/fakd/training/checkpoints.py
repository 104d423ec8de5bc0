"""The checkpoints of a run: written whole or not at all, and the newest sound one found again."""

import errno
import os
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError

from fakd.console import say
from fakd.files.atomic import written_at_once
from fakd.models.weights_file import read_torch_file
from fakd.training.run_folder import RunFolder

_FORMAT = 3
"""Goes up where a run of an earlier release, gone on with, would not end as by that release."""
_KEY = "fakd"
"""The entry of a checkpoint that says which format it has, and which release wrote it."""
_NO_ROOM = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}


class CheckpointFiles:
    """Puts a run's checkpoints on the disk; some of those before the last are kept until the run is finished.

    Args:
        folder: of the run.
        keep: how many checkpoints to resume from to keep, the last one included.
    """

    def __init__(self, folder: RunFolder, keep: int = 2) -> None:
        self._folder = folder
        self._keep = keep
        self._last_is_sound = True

    def save_checkpoint(self, checkpoint: dict[str, Any], path: Path) -> None:
        """Write a checkpoint; what bore its name before is there until all of it is on the disk."""
        last = self._folder.last
        with written_at_once(path) as temporary:
            with temporary.open("wb") as file:  # errors of PyTorch's own files do not say that the disk is full
                try:
                    torch.save({**checkpoint, _KEY: {"format": _FORMAT, "version": version("fakd")}}, file)
                except RuntimeError as error:  # nor does what it raises next, about the end of the file
                    raise (error.__context__ if isinstance(error.__context__, OSError) else error) from None
                file.flush()
                os.fsync(file.fileno())
            if path == last and last.exists() and self._last_is_sound:
                self._age()
        if path == last:
            self._last_is_sound = True

    def _age(self) -> None:
        """Make room for a new last checkpoint: each takes the place of the one before it."""
        for age in reversed(range(1, self._keep)):
            if (newer := self._folder.checkpoint(age - 1)).exists():
                os.replace(newer, self._folder.checkpoint(age))
        for path in self._folder.found_checkpoints()[self._keep - 1 :]:  # if now fewer are to be kept
            if path != self._folder.last:
                path.unlink()

    def load_checkpoint(self, path: Path) -> dict[str, Any]:
        """Read a checkpoint, running nothing; after an older one, the next to be written replaces the damaged last."""
        self._last_is_sound = path == self._folder.last
        checkpoint: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
        return checkpoint


def newest_checkpoint(folder: RunFolder) -> Path | None:
    """Find the checkpoint to go on from: the last, or the newest one before it that is not damaged.

    Returns:
        Its path; None where none was written yet.

    Raises:
        ValueError: those that were written are all damaged, or are of a release whose runs this one cannot go on with.
    """
    faults = []
    for path in folder.found_checkpoints():
        try:
            content = _checked(path)
        except ValueError as error:
            faults.append(str(error))
        else:
            _check_release(content, path)
            for fault in faults:
                say(f"damaged   {fault}", style="yellow")
            return path
    if faults:
        raise ValueError(f"no checkpoint in {folder.checkpoints} can be read; start anew with --overwrite. {faults[0]}")
    return None


@contextmanager
def full_disk_explained(folder: RunFolder) -> Iterator[None]:
    """Say which run has no room and what to do, whatever it was that could not be written.

    Raises:
        OSError: the disk is full, or a quota used up.
    """
    try:
        yield
    except (OSError, SafetensorError) as error:
        # safetensors tells only in words, in others with each release, what the system answered.
        if getattr(error, "errno", None) not in _NO_ROOM and os.strerror(errno.ENOSPC) not in str(error):
            raise
        raise OSError(
            f"there is no room for {folder.root} ({getattr(error, 'strerror', None) or error}). Its last checkpoint is "
            "whole: make room, and go on with the same command and --resume."
        ) from error


def _checked(path: Path) -> Mapping[str, Any]:
    """Read all of a checkpoint, running nothing.

    Raises:
        ValueError: it is damaged, or none.
    """
    content = read_torch_file(path)
    if not isinstance(content, Mapping) or not {"state_dict", "optimizer_states"} <= content.keys():
        raise ValueError(f"{path} is no checkpoint of a run.")
    # PyTorch writes checksums and does not look at them.
    with zipfile.ZipFile(path) as archive:
        wrong = archive.testzip()
    if wrong is not None:
        raise ValueError(f"{path} is damaged: the checksum of {wrong} is wrong.")
    return content


def _check_release(content: Mapping[str, Any], path: Path) -> None:
    """Refuse to go on with a run that would not end as it would have.

    Raises:
        ValueError: it was begun by a release that draws, or keeps, something else.
    """
    note = content.get(_KEY, {"format": 1, "version": "0.1.0"})  # which wrote none
    if note["format"] != _FORMAT:
        raise ValueError(
            f"{path} was written by fakd {note['version']}, which draws other crops, or keeps its state in another "
            f"way, than this fakd {version('fakd')}. Finish the run with that release (pip install "
            f"fakd=={note['version']}), or start anew with --overwrite."
        )
