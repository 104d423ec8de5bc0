"""The images and videos that a user names, found, read ahead and grouped by size."""

import glob
import os
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor
from torch.utils.data import DataLoader, IterableDataset, get_worker_info

from fakd.console import printable
from fakd.data import DataError, read_image
from fakd.data.pairing import IMAGE_SUFFIXES, image_files
from fakd.data.transforms import EvalTransform
from fakd.data.video import VIDEO_SUFFIXES, read_video


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
            # A link that lies there, to one of these images, is none either.
            files = [file for file in files if output.resolve() not in (file.parent.resolve() / file.name).parents]
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
        return sorted(image_files(item)), item
    fixed = next(parent for parent in item.parents if not glob.has_magic(str(parent)))
    matches = map(Path, glob.iglob(str(item), recursive=True))
    suffixes = IMAGE_SUFFIXES + VIDEO_SUFFIXES
    return sorted(path for path in matches if path.suffix.lower() in suffixes and path.is_file()), fixed


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


_MOST_WAITING = 256 << 20
"""Bytes of images that wait for others of their size."""
_MOST_OTHERS = 32
"""Images of other sizes that wait meanwhile; each keeps two files open for the memory it is handed over in."""


@dataclass(frozen=True)
class Frame:
    """An image, or what is wrong with it."""

    title: str
    """The file; for a frame of a video with its number."""
    place: Path
    """Where its masks belong below the output, without .png."""
    image: Tensor | None = None
    """(3, H, W) uint8 RGB."""
    fitted: Tensor | None = None
    """(3, h, w) uint8, as the network is shown it."""
    fault: str = ""
    """Why there is no image."""


class Frames(IterableDataset[Frame]):
    """Every image of some files, read when it is asked for; loader processes take turns file by file.

    Args:
        sources: the files.
        base_size: (height, width) that images are fitted into; None leaves them as they are.
        every: frames of a video from one that is taken to the next.
    """

    def __init__(self, sources: Sequence[Source], base_size: tuple[int, int] | None = None, every: int = 1) -> None:
        self.sources = sources
        self.fit = EvalTransform(base_size).fit if base_size else None
        self.every = every

    def __iter__(self) -> Iterator[Frame]:
        """Read on; a fault is given in the place of its image."""
        worker = get_worker_info()
        first, step = (worker.id, worker.num_workers) if worker else (0, 1)
        for source in self.sources[first::step]:
            try:
                yield from self._read(source)
            except DataError as error:
                yield Frame(printable(str(source.path)), source.place, fault=str(error))

    def _read(self, source: Source) -> Iterator[Frame]:
        if not source.is_video:
            yield self._frame(str(source.path), source.place, read_image(source.path))
            return
        for number, image in read_video(source.path, self.every):
            yield self._frame(f"{source.path}:{number}", source.place / f"{number:06d}", image)

    def _frame(self, title: str, place: Path, image: Tensor) -> Frame:
        fitted = image if self.fit is None else self.fit(image)
        if get_worker_info():  # where a lack of shared memory is an error; in the queue the image would be waited for
            image.share_memory_(), fitted.share_memory_()  # type: ignore[no-untyped-call]
        return Frame(printable(title), place, image, fitted)


def in_background(frames: Frames, workers: int) -> Iterator[Frame]:
    """Read in that many processes, none of which is more than two images ahead; with 0 in this one.

    Raises:
        ChildProcessError: a process died, as where the memory is full.
    """
    loader = DataLoader(frames, batch_size=None, num_workers=min(workers, len(frames.sources)))
    try:
        yield from loader
    except RuntimeError as error:
        if "DataLoader worker" not in str(error) or "shared memory" in str(error):
            raise
        raise ChildProcessError(f"{error} A process that reads images died: try again with --workers 0.") from error


def by_size(frames: Iterable[Frame], most: int, most_pixels: int) -> Iterator[list[Frame]]:
    """Group images whose own and fitted sizes are equal, while few wait for others.

    Args:
        frames: images without faults.
        most: images in a group.
        most_pixels: in a group; a larger image stands alone.
    """
    waiting: dict[tuple[torch.Size, torch.Size], list[Frame]] = {}
    for frame in frames:
        image, fitted = pixels(frame)
        key = image.shape, fitted.shape
        group = waiting.setdefault(key, [])
        group.append(frame)
        if len(group) >= min(most, max(1, most_pixels // image[0].numel())):
            yield waiting.pop(key)
        while _too_many(waiting.values(), most):
            yield waiting.pop(next(iter(waiting)))
    yield from waiting.values()


def pixels(frame: Frame) -> tuple[Tensor, Tensor]:
    """The image of a frame that has one, and how the network is shown it."""
    assert frame.image is not None
    assert frame.fitted is not None
    return frame.image, frame.fitted


def _too_many(groups: Iterable[list[Frame]], most: int) -> bool:
    waiting = [pixels(frame)[0].numel() for group in groups for frame in group]
    return len(waiting) > most + _MOST_OTHERS or sum(waiting) > _MOST_WAITING
