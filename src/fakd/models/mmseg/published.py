"""MMSegmentation's published teachers: the ones that the paper distils."""

import csv
import difflib
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from pathlib import Path, PurePosixPath

from fakd.files.checksum import checksum_in_name
from fakd.files.download import cache_folder, download

PREFIX = "mmseg:"
"""What a teacher's name begins with where it is a row of the table rather than a file."""


_DATASETS = {
    "ADE20K": "ade20k",
    "Cityscapes": "cityscapes",
    "Pascal Context 59": "pascal-context",
    "Pascal VOC 2012 + Aug": "voc2012",
}
"""The table's name of a data set -> this project's."""


@dataclass(frozen=True)
class PublishedTeacher:
    """One row of the table."""

    name: str
    """MMSegmentation's name of the configuration."""
    network: str
    """The preset that it is."""
    dataset: str
    """Name of the data set on the command line."""
    paper_miou: float
    """mIoU in percent that the paper gives for its teacher."""
    mmseg_miou: float
    """mIoU in percent that MMSegmentation gives for this file."""
    url: str
    """Of the checkpoint; its name ends with the beginning of its SHA-256."""

    @property
    def cached(self) -> Path:
        """Where the file lies once it is downloaded, which is where OpenMMLab's own tools put it too."""
        return cache_folder() / PurePosixPath(self.url).name


@cache
def published_teachers() -> dict[str, PublishedTeacher]:
    """Return every teacher by its name."""
    text = files("fakd.models.mmseg").joinpath("mmseg_teachers.csv").read_text(encoding="utf-8")
    rows = (
        PublishedTeacher(
            row["mmseg_config"],
            row["network"],
            _DATASETS[row["dataset"]],
            float(row["paper_mIoU"]),
            float(row["mmseg_mIoU"]),
            row["checkpoint_url"],
        )
        for row in csv.DictReader(text.splitlines())
    )
    return {teacher.name: teacher for teacher in rows}


def find_teacher(name: str) -> PublishedTeacher:
    """Return the teacher of that name, with or without "mmseg:" before it.

    Raises:
        ValueError: there is none; the message lists those there are.
    """
    teachers = published_teachers()
    name = name.removeprefix(PREFIX)
    if name not in teachers:
        close = difflib.get_close_matches(name, teachers, n=3, cutoff=0.5)
        if close:
            raise ValueError(f"no published teacher {name!r}; did you mean {' or '.join(close)}?")
        lines = [
            f"{PREFIX}{teacher.name}  ({teacher.network}, {teacher.dataset}, mIoU {teacher.mmseg_miou:.2f}; "
            f"{teacher.paper_miou:.2f} in the paper)"
            for teacher in teachers.values()
        ]
        raise ValueError(f"no published teacher {name!r}; there are:\n  " + "\n  ".join(lines))
    return teachers[name]


def fetch_teacher(name: str) -> Path:
    """Download a published teacher unless it is there already, and return its file.

    Raises:
        ValueError: there is no teacher of that name.
        DownloadError: it could not be downloaded, or is not what was published.
    """
    teacher = find_teacher(name)
    return download(teacher.url, teacher.cached, checksum=checksum_in_name(teacher.cached.name))
