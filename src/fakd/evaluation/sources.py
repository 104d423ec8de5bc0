"""What a user means by images: files, folders, patterns and videos."""

import glob
import os
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from fakd.data.video import VIDEO_SUFFIXES

IMAGE_SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".webp", ".tif", ".tiff")
"""Files that folders are searched for."""


@dataclass(frozen=True)
class Source:
    """A file to read images from."""

    path: Path
    """As the user would write it."""
    place: Path
    """Where its masks belong below the output: of an image the name of the file, of a video that of the folder."""

    @property
    def is_video(self) -> bool:
        """Whether it holds frames."""
        return self.path.suffix.lower() in VIDEO_SUFFIXES


def find_sources(given: Iterable[Path], output: Path | None = None) -> list[Source]:
    """Find the files that are meant, each once, in the order given; those of a folder or a pattern by name.

    Their places below the output keep the folders below the deepest one that holds everything that is given.

    Args:
        given: image files; videos; folders, which are searched for images in all their subfolders; and patterns, as
            photos/**/*.jpg, which are searched for images and videos.
        output: the folder for the masks; what lies in it already is no image.

    Raises:
        FileNotFoundError: one of those given is not there, or holds no image.
    """
    found: dict[Path, Path] = {}  # absolute -> as written
    roots = []
    for item in given:
        files, root = _files(item)
        if output is not None:
            files = [file for file in files if output.resolve() not in file.resolve().parents]
        if not files:
            raise FileNotFoundError(
                f"no image at {item}: expected a file, a folder with {', '.join(IMAGE_SUFFIXES)}, a pattern such as "
                f"'photos/**/*.jpg', or a video ({', '.join(VIDEO_SUFFIXES)})."
            )
        roots.append(_absolute(root))
        for file in files:
            found.setdefault(_absolute(file), file)
    root = Path(os.path.commonpath(roots))
    places = _places([path.relative_to(root) for path in found])
    return [Source(file, place) for file, place in zip(found.values(), places, strict=True)]


def _files(item: Path) -> tuple[list[Path], Path]:
    """The files that are meant, and the folder below which their names count."""
    if item.is_file():
        return [item], item.parent
    if item.is_dir():
        # A leading dot is a hidden file, such as the "._name.png" that macOS leaves on other disks.
        return sorted(path for path in item.rglob("[!.]*") if _holds(path, IMAGE_SUFFIXES)), item
    fixed = next(parent for parent in item.parents if not glob.has_magic(str(parent)))
    matches = map(Path, glob.iglob(str(item), recursive=True))
    return sorted(path for path in matches if _holds(path, IMAGE_SUFFIXES + VIDEO_SUFFIXES)), fixed


def _holds(path: Path, suffixes: tuple[str, ...]) -> bool:
    return path.suffix.lower() in suffixes and path.is_file()


def _absolute(path: Path) -> Path:
    return Path(os.path.abspath(path))  # not resolved: a link keeps the name that the user gave it


def _places(names: Sequence[Path]) -> list[Path]:
    """The names without their suffixes; a suffix stays where two would collide, or with a folder of the others."""
    plain = [name.with_suffix("") for name in names]
    twins = Counter(plain)
    folders = {folder for name in names for folder in name.parents}
    return [
        short if twins[short] == 1 and short not in folders else name for short, name in zip(plain, names, strict=True)
    ]
