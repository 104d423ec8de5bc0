"""Files that are never seen half-written."""

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any


def check_free(path: Path, overwrite: bool) -> None:
    """Refuse to write a file where something is, before any work is done.

    Raises:
        FileExistsError: there is something, and it is not to be replaced, or a folder, which never is.
    """
    if path.is_dir():
        raise FileExistsError(f"{path} is a folder: name a file.")
    if path.exists() and not overwrite:
        raise FileExistsError(f"{path} exists. Choose another name, or give --overwrite.")


@contextmanager
def written_at_once(path: Path, synced: bool = True) -> Iterator[Path]:
    """Give a temporary path to write to; it takes the place of `path` at the end, whole or not at all.

    The folder is made if it does not exist. What was written is on the disk before it is seen under its name, unless
    not `synced`: for many small files, waiting for the disk after each takes minutes.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    # Same folder, so that the final replace stays within one file system and is atomic.
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        yield temporary
        if synced:
            with temporary.open("rb+") as file:
                os.fsync(file.fileno())
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def write_json(path: Path, content: Any) -> None:
    """Write JSON so that no reader ever sees half of it."""
    write_text(path, json.dumps(content, indent=2) + "\n")


def write_text(path: Path, text: str) -> None:
    """Write text so that no reader ever sees half of it."""
    with written_at_once(path) as temporary:
        temporary.write_text(text, encoding="utf-8")
