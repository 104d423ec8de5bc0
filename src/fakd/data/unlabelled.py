"""Images that nobody labelled, and sources laid end to end."""

from bisect import bisect_right
from collections.abc import Mapping, Sequence
from itertools import accumulate
from pathlib import Path

import torch
from torch import Tensor

from fakd.console import printable
from fakd.data.reading import read_image
from fakd.data.spec import Sample, Source, open_all
from fakd.types import UNLABELLED

UNLABELLED_SET = "unlabelled"
"""The name in configurations of images without any label, some of them set aside to compare with the teacher on."""


class UnlabelledImages:
    """A `Source` of images without masks: every pixel is labelled 254, `UNLABELLED`.

    Args:
        files: the path and the name of each.
    """

    def __init__(self, files: Sequence[tuple[Path, str]] = ()) -> None:
        self.files = list(files)

    def __len__(self) -> int:
        """Return the number of images."""
        return len(self.files)

    def __getitem__(self, index: int) -> Sample:
        """Read image `index` at its own size.

        Raises:
            DataError: The file is missing or unreadable.
        """
        path, name = self.files[index]
        image = read_image(path)
        return Sample(image, torch.full(image.shape[1:], UNLABELLED, dtype=torch.uint8), printable(name))

    def check(self) -> None:
        """Read every image once; raise `DataError` for the first that is at fault."""
        open_all(self)


class JoinedSource:
    """A `Source` of several, one after the other.

    Example:
        >>> from fakd.data.sets.toy_scenes import ToyScenes
        >>> joined = JoinedSource([ToyScenes("train", count=2), ToyScenes("val", count=3)])
        >>> len(joined), joined[1].name, joined[2].name
        (5, 'train/0001', 'val/0000')
    """

    def __init__(self, parts: Sequence[Source]) -> None:
        self.parts = parts
        self._ends = list(accumulate(map(len, parts)))

    def __len__(self) -> int:
        """Return the number of samples of all."""
        return self._ends[-1]

    def __getitem__(self, index: int) -> Sample:
        """Return sample `index`, counted over all."""
        part, place = self.at(index)
        return part[place]

    def at(self, index: int) -> tuple[Source, int]:
        """Return the source that sample `index` is of, and its number there."""
        part = bisect_right(self._ends, index)
        return self.parts[part], index - (self._ends[part] - len(self.parts[part]))

    def check(self) -> None:
        """Open everything of each."""
        for part in self.parts:
            part.check()


class RelabelledSource:
    """A `Source` whose images have other labels.

    Args:
        source: of the images.
        labels: (H, W) by the number of the image, of those that are asked for.
    """

    def __init__(self, source: Source, labels: Mapping[int, Tensor]) -> None:
        self.source, self.labels = source, labels

    def __len__(self) -> int:
        """Return the number of images."""
        return len(self.source)

    def __getitem__(self, index: int) -> Sample:
        """Return image `index` with its new label."""
        return self.source[index]._replace(label=self.labels[index])

    def check(self) -> None:
        """Open every image once."""
        self.source.check()
