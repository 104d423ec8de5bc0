"""Decoded images in memory that all loader processes share, so that no file is decoded twice."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from itertools import accumulate
from pathlib import Path
from shutil import disk_usage

import psutil
import torch
from torch import Tensor

from fakd.data.paired_files import image_size
from fakd.data.spec import Sample, Source

_THREADS = 4
_SHARED_MEMORY = Path("/dev/shm")
_CGROUP = Path("/sys/fs/cgroup")


class CachedSource:
    """A `Source` whose images and labels are decoded once, at the start, and kept in one block of shared memory.

    Processes that are started later, by fork or by spawn, all read the same block.

    Args:
        source: what to keep; its files are read again by no one.
        sizes: (height, width) of each of its images, as `image_sizes` gives them.
        on_image: called after each image, to show progress; from several threads.
        channels: of each image.

    Raises:
        DataError: a file is at fault; the message names it.

    Example:
        >>> from fakd.data.sets.toy_scenes import ToyScenes
        >>> scenes = ToyScenes("val", count=2)
        >>> cached = CachedSource(scenes, image_sizes(scenes))
        >>> torch.equal(cached[1].image, scenes[1].image), len(cached.block)
        (True, 196608)
    """

    def __init__(
        self,
        source: Source,
        sizes: list[tuple[int, int]],
        on_image: Callable[[], None] = lambda: None,
        channels: int = 3,
    ) -> None:
        self._source = source
        self._channels = channels
        self._sizes = sizes
        *self._starts, total = accumulate((cached_bytes([size], channels) for size in sizes), initial=0)
        self.block = torch.empty(total, dtype=torch.uint8)
        """Image and label of every sample, one after the other."""
        self.block.share_memory_()  # type: ignore[no-untyped-call]
        self._names = [""] * len(sizes)

        def keep(index: int) -> None:
            sample = source[index]
            image, label = self._parts(index)
            image.copy_(sample.image)
            label.copy_(sample.label)
            self._names[index] = sample.name
            on_image()

        with ThreadPoolExecutor(_THREADS) as pool:  # decoding releases the interpreter lock
            for _ in pool.map(keep, range(len(sizes))):
                pass

    def __len__(self) -> int:
        """Return the number of samples."""
        return len(self._sizes)

    def __getitem__(self, index: int) -> Sample:
        """Return a copy of sample `index`, so that a transform that works in place spoils nothing."""
        image, label = self._parts(index)
        return Sample(image.clone(), label.clone(), self._names[index])

    def check(self) -> None:
        """Open everything once, as the source itself does."""
        self._source.check()

    def _parts(self, index: int) -> tuple[Tensor, Tensor]:
        height, width = self._sizes[index]
        start, pixels = self._starts[index], height * width
        label = start + self._channels * pixels
        image = self.block[start:label].view(self._channels, height, width)
        return image, self.block[label : label + pixels].view(height, width)


def image_sizes(source: Source) -> list[tuple[int, int]]:
    """(height, width) of every image; of files without decoding them."""
    with ThreadPoolExecutor(_THREADS) as pool:
        return list(pool.map(lambda index: image_size(source, index), range(len(source))))


def cached_bytes(sizes: list[tuple[int, int]], channels: int = 3) -> int:
    """What images of these sizes take with their labels: four bytes a pixel, or one more than there are channels.

    Example:
        >>> cached_bytes([(360, 480), (10, 10)])
        691600
    """
    return sum((channels + 1) * height * width for height, width in sizes)


def check_fits(needed: int, copies: int = 1) -> None:
    """Refuse a cache that is larger than the memory that is free.

    Args:
        needed: bytes of one copy.
        copies: how many processes of this machine will each keep one.

    Raises:
        ValueError: it does not fit; the message has both sizes.
    """
    for what, free in _free_memory().items():
        if needed * copies > free:
            each = f" in each of {copies} processes" if copies > 1 else ""
            raise ValueError(
                f"the decoded training images take {needed / 1e9:.2f} GB{each}, but {free / 1e9:.2f} GB of {what} is "
                "free. Leave --cache-images out: the loader then decodes each image when it is asked for."
            )


def _free_memory() -> dict[str, int]:
    """Free bytes by where they are counted."""
    free = {"memory": int(psutil.virtual_memory().available)}
    if _SHARED_MEMORY.is_dir():
        free["shared memory (/dev/shm; for Docker see --shm-size)"] = disk_usage(_SHARED_MEMORY).free
    limit, used = _CGROUP / "memory.max", _CGROUP / "memory.current"
    if limit.is_file() and limit.read_text().strip() != "max":
        # files that were read count as used, and are dropped where memory is asked for
        kinds = dict(line.split() for line in (_CGROUP / "memory.stat").read_text().splitlines())
        taken = int(used.read_text()) - int(kinds["inactive_file"])
        free["this container's memory"] = max(0, int(limit.read_text()) - taken)
    return free
