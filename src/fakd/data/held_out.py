"""A part of the training images, held out to validate on: options are chosen by it, and val is left alone."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from fakd.data.paired_files import PairedFiles
from fakd.data.seeds import mixed_seed
from fakd.data.spec import DataError, DatasetSpec, Sample, Source


def chosen(names: Sequence[str], share: float) -> set[int]:
    """Choose places of a list by a hash of the names there, so that a new name moves no other.

    Args:
        names: two or more.
        share: how many of them, above 0 and below 1.

    Returns:
        About that share of the places; at least one, and never all.

    Example:
        >>> sorted(chosen("abcdefgh", 0.3))
        [0, 1, 5]
    """
    ranks = [mixed_seed("set aside", name) for name in names]
    below = sum(rank < share * 2**64 for rank in ranks)
    order = sorted(range(len(names)), key=lambda place: ranks[place])
    return set(order[: min(max(1, below), len(names) - 1)])


def with_held_out(spec: DatasetSpec, share: float) -> DatasetSpec:
    """The data set whose "val" is a share of its "train", which has the rest; its own "val" is never opened.

    Args:
        spec: of the whole.
        share: of the training images that validates, above 0 and below 1.
    """
    return replace(spec, open=partial(_open, spec, share), counts={})


def _open(spec: DatasetSpec, share: float, root: Path | None, split: str) -> Source:
    """Open a part of the training images.

    Raises:
        DataError: there are fewer than two.
    """
    source = spec.open(root, "train")
    if len(source) < 2:
        raise DataError(f"{spec.name} has {len(source)} training image, expected two or more: one is held out.")
    held_out = chosen(_names(source), share)
    places = [place for place in range(len(source)) if (place in held_out) == (split == "val")]
    return source.part(places) if isinstance(source, PairedFiles) else Part(source, places)


def _names(source: Source) -> list[str]:
    """What the images are called, without opening them; those of no file by their number."""
    if isinstance(source, PairedFiles):
        return [image.relative_to(source.root).as_posix() for image, _ in source.pairs]
    return list(map(str, range(len(source))))


@dataclass(frozen=True)
class Part:
    """A `Source` of some samples of another.

    Args:
        source: the other.
        places: the numbers of the samples there, in order.
    """

    source: Source
    places: Sequence[int]

    def __len__(self) -> int:
        """Return the number of samples."""
        return len(self.places)

    def __getitem__(self, index: int) -> Sample:
        """Return sample `index` of the part."""
        return self.source[self.places[index]]

    def check(self) -> None:
        """Open everything of the other source."""
        self.source.check()
