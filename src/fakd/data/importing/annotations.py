"""What every format comes to: images, and the shapes or the mask that say which class a pixel has."""

import json
import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path, PurePath, PurePosixPath
from typing import Any

from fakd.data.importing.shapes import Geometry
from fakd.data.paired_files import PairedFiles
from fakd.data.pairing import image_files, listed, one_spelling
from fakd.data.spec import DataError
from fakd.data.user.masks import Colour

_SPLITS = {"tr": "train", "va": "val", "de": "val", "te": "test"}
_SPLIT = re.compile(r"(train(ing)?|val(id(ation)?)?|dev|test(ing)?)(\d{4})?", re.IGNORECASE)
_HOLDERS = ("images", "img", "jpegimages")
"""Folders that only say that images are in them."""


@dataclass(frozen=True)
class Shape:
    """One thing that was drawn onto an image."""

    name: str | None
    """Its class; None for pixels that are to be ignored."""
    what: str
    """How a message calls it, as "annotation 17"."""
    geometry: Geometry


@dataclass(frozen=True)
class Annotated:
    """One image, and what was drawn onto it or the mask that was exported with it."""

    image: Path
    name: str
    """Its path below the images of the split, without suffix."""
    split: str
    """train, val or test; empty where nothing says it."""
    file: Path
    """Where its annotation is, for messages."""
    shapes: Sequence[Shape] = ()
    faults: Sequence[str] = ()
    """What is wrong with its shapes."""
    size: tuple[int, int] | None = None
    """(height, width) as the annotation says it."""
    mask: PairedFiles | None = None
    """Where `file` is a mask: this one pair, labelled by places in the classes of the source."""


@dataclass
class Annotations:
    """All that was found in a source."""

    classes: dict[str, Colour | None] = field(default_factory=dict)
    """Their colours, as far as they have any; in the order of the source."""
    images: list[Annotated] = field(default_factory=list)
    faults: list[str] = field(default_factory=list)
    """What is wrong beside the images; one message each, which names the file."""
    notes: list[str] = field(default_factory=list)
    """What is no fault, but should be known."""


class ImageIndex:
    """The image files below a folder, found by what annotations call them."""

    def __init__(self, source: Path) -> None:
        self.source = source
        self._by_stem: dict[str, list[Path]] = defaultdict(list)
        for path in image_files(source):
            self._by_stem[one_spelling(path.stem)].append(path)

    def find(self, called: str, near: Path, split: str = "") -> Path:
        """The file that an annotation means.

        Args:
            called: a path, which was perhaps right on another machine; or one without suffix.
            near: the folder of the annotation, which is looked at first.
            split: where several files have the name, the one of this split is taken.

        Raises:
            DataError: there is none, or it is unclear which.
        """
        wanted = PurePosixPath(one_spelling(called.replace("\\", "/")))
        if (near / wanted).is_file():
            return near / wanted
        # 0001.jpg is a whole name; 0001, or v1.0001, has its suffix to come
        found = [path for path in self._by_stem[wanted.stem] if one_spelling(path.name) == wanted.name]
        found = found or self._by_stem[wanted.name]
        best = max((_shared_end(path, wanted) for path in found), default=0)
        found = [path for path in found if _shared_end(path, wanted) == best]
        found = [path for path in found if split and self.split(path) == split] or found
        if len(found) == 1:
            return found[0]
        if found:
            raise DataError(f"several images are called {wanted.name}: {listed(found)}. Rename all but one")
        raise DataError(f"the image {called} is missing, expected it below {self.source}. Add it, or export it again")

    def others(self, found: "Annotations") -> int:
        """How many of the files are no image of what was found."""
        return sum(map(len, self._by_stem.values())) - len({image.image for image in found.images})

    def split(self, path: Path) -> str:
        """The split whose folder a file is in, or none."""
        return split_in(path.relative_to(self.source).parts[:-1]) if path.is_relative_to(self.source) else ""

    def name(self, path: Path) -> str:
        """What an image is called in the new data set: its path, without the folders that say split and kind."""
        if not path.is_relative_to(self.source) or ".." in path.parts:
            return path.stem
        parts = path.relative_to(self.source).with_suffix("").parts
        kept = [part for part in parts[:-1] if part.lower() not in _HOLDERS and not _SPLIT.fullmatch(part)]
        return PurePosixPath(*kept, parts[-1]).as_posix()


@contextmanager
def noting(faults: list[str], where: str) -> Iterator[None]:
    """Note what is raised in the block, as a fault of the place, and go on behind it."""
    try:
        yield
    except (ValueError, OverflowError) as error:  # the latter of whole numbers that are larger than any fraction
        faults.append(f"{where}: {str(error).removesuffix('.')}.")


def split_in(words: Iterable[str]) -> str:
    """The split that the first word names which names one; empty if none does.

    Example:
        >>> split_in(["instances", "val2017"]), split_in(["valid"]), split_in(["trainer"])
        ('val', 'val', '')
    """
    return next((_SPLITS[word[:2].lower()] for word in words if _SPLIT.fullmatch(word)), "")


def words_of(path: PurePath) -> list[str]:
    """The words of a path: its folders, then those of the file's name."""
    return [*path.parts[:-1], *re.split(r"[_\-. ]", path.stem)]


def read_json(path: Path) -> Any:
    """Read a JSON file.

    Raises:
        DataError: It is none.
    """
    try:
        return json.loads(path.read_text(encoding="utf-8-sig"))
    except (ValueError, RecursionError) as error:  # no UTF-8, no JSON
        raise DataError(f"{path}: not readable as JSON ({error}). Export it again.") from error


def size_of(height: Any, width: Any) -> tuple[int, int] | None:
    """The size that an annotation states, if it states any."""
    return (height, width) if isinstance(height, int) and isinstance(width, int) else None


def expected(path: Path, value: Any, kind: type, what: str) -> Any:
    """Return a value of a file if it is of the kind that it must be.

    Raises:
        DataError: It is not.
    """
    if not isinstance(value, kind):
        raise DataError(f"{path}: {what} is {json.dumps(value)[:60]}, expected {_KINDS[kind]}. Export it again.")
    return value


_KINDS: Mapping[type, str] = {list: "a list", dict: "names with values", str: "text", int: "a whole number"}


def _shared_end(path: Path, wanted: PurePosixPath) -> int:
    """How many folders before their names are the same."""
    count = 0
    for one, other in zip(reversed(path.parts[:-1]), reversed(wanted.parts[:-1]), strict=False):
        if one_spelling(one) != other:
            break
        count += 1
    return count
