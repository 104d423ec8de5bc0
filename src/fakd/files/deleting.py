"""Deleting what a program wrote, and nothing that somebody else put beside it."""

from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path


def delete_files(root: Path, patterns: Iterable[str]) -> None:
    """Delete files below a folder, then each folder that has become empty, the given one too; no link is followed.

    Args:
        root: the folder; nothing happens where there is none.
        patterns: of the files, as seen from there: "table.md", "csv/*/metrics.csv", "wandb/**/*".
    """
    found = {path for pattern in patterns for path in root.glob(pattern)}
    for path in sorted(found, reverse=True):  # what lies in a folder before the folder
        folders = [folder for folder in path.parents if folder.is_relative_to(root)]
        if any(folder.is_symlink() for folder in folders) or (path.is_dir() and not path.is_symlink()):
            continue
        path.unlink(missing_ok=True)  # it may be a folder that went with its last file
        for folder in folders:
            with suppress(OSError):  # others' files are there
                folder.rmdir()
