"""Every file of a split opened once: what is wrong with each, and what all of them hold."""

import re
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import torch
from torch import Tensor

from fakd.console import progress, say
from fakd.data.paired_files import PairedFiles, UnpairedError
from fakd.data.pairing import IMAGE_SUFFIXES, listed
from fakd.data.spec import DataError, DatasetSpec, Source
from fakd.data.user.masks import Colour, UserMasks
from fakd.data.user.palettes import Shown, shown
from fakd.data.user.proposal import stored

_SHOWN = 50
"""Kinds of faults that are printed."""
_FILE = "(?:" + "|".join(map(re.escape, IMAGE_SUFFIXES)) + ")"


@dataclass
class Survey:
    """What was found in some pairs of an image and a mask."""

    images: int = 0
    """How many pairs there are."""
    pixels: Tensor = field(default_factory=lambda: torch.zeros(256, dtype=torch.int64))
    """(256,) number of pixels of every class, and of ignored ones at 255."""
    sizes: list[tuple[int, int]] = field(default_factory=list)
    """(height, width) of every pair that could be read."""
    faults: list[str] = field(default_factory=list)
    """One message each, which names the file."""
    plain: list[Path] = field(default_factory=list)
    """Images all of whose pixels are the same."""
    palettes: dict[Path, Shown] = field(default_factory=dict)
    """Of a user's masks that have one."""
    stored: set[int | Colour] = field(default_factory=set)
    """All values or colours of a user's masks that are at fault."""

    def share(self, index: int) -> float | None:
        """Percentage of all pixels that a class has, or that are ignored (255); None if nothing could be read."""
        total = int(self.pixels.sum())
        return 100 * int(self.pixels[index]) / total if total else None

    def add(self, other: "Survey") -> None:
        """Take over what another found."""
        self.images += other.images
        self.pixels += other.pixels
        self.sizes += other.sizes
        self.faults += other.faults
        self.plain += other.plain
        self.palettes |= other.palettes
        self.stored |= other.stored


def survey_split(spec: DatasetSpec, root: Path | None, split: str, workers: int) -> Survey:
    """Open every pair of a split."""
    found = Survey()
    try:
        source = spec.open(root, split)
    except UnpairedError as error:
        source, found.faults = error.source, error.faults
    except DataError as error:
        found.faults.append(str(error))
        return found
    published = spec.counts.get(split)
    if published not in (None, len(source)):
        found.faults.append(
            f"{split}: {len(source):,} images with masks there, but {spec.name} is published with {published:,}. "
            "Files are missing, or do not belong there; unpack the archive again."
        )
    # Decoding releases the interpreter lock, so threads are enough.
    with progress("images") as bar, ThreadPoolExecutor(workers) as pool:
        task = bar.add_task(f"checking {split}", total=len(source), note="")
        for one in pool.map(partial(_survey_pair, source), range(len(source))):
            found.add(one)
            bar.advance(task)
    return found


def _survey_pair(source: Source, index: int) -> Survey:
    files = source if isinstance(source, PairedFiles) else None
    users = files.read if files is not None and isinstance(files.read, UserMasks) else None
    image, mask = files.pairs[index] if files is not None else (Path(), Path())
    try:
        sample = source[index]
    except DataError as error:
        found = Survey(1, faults=(files.faults(index) if files else []) or [str(error)])
        if users is not None:
            with suppress(DataError):  # which is a fault already
                found.stored = stored(mask)
        return found
    height, width = sample.label.shape
    found = Survey(1, torch.bincount(sample.label.flatten(), minlength=256), [(height, width)])
    if bool((sample.image == sample.image[:, :1, :1]).all()):
        found.plain.append(image if files else Path(sample.name))
    if users is not None and users.classes.options.get("masks") is None and (palette := shown(mask)) is not None:
        found.palettes[mask] = palette
    return found


def grouped(faults: Iterable[str], root: Path | None) -> list[str]:
    """Put the same fault of several files into one message.

    Args:
        faults: messages, most of which begin with the path of a file.
        root: of the data set.

    Example:
        >>> for fault in grouped([f"set/masks/{name}.png: value 9 is no class." for name in "abc"], Path("set")):
        ...     print(fault)
        set/masks/a.png: value 9 is no class.
          the same in 2 more: masks/b.png, masks/c.png
    """
    start = f"{root}/"
    kinds: dict[str, list[str]] = {}
    for fault in faults:
        text = fault.removeprefix(start).partition(": ")[2]
        kind = re.sub(rf"{re.escape(start)}.*?{_FILE}\b", "", text, flags=re.IGNORECASE)
        # How many pixels differ from file to file where the fault does not.
        kind = re.sub(r" in \d+ pixels", "", kind) if fault.startswith(start) and kind else fault
        kinds.setdefault(kind, []).append(fault)
    messages = []
    for first, *more in kinds.values():
        files = listed([fault.removeprefix(start).partition(": ")[0] for fault in more])
        messages.append(f"{first}\n  the same in {len(more)} more: {files}" if more else first)
    return messages


def say_faults(faults: Sequence[str], root: Path | None, where: str = "") -> None:
    """Print faults, those of one kind together; of very many kinds the first ones.

    Args:
        faults: of the files of a data set.
        root: its folder.
        where: all of them can be seen, behind the number of those that are not printed.
    """
    kinds = grouped(faults, root)
    for fault in kinds[:_SHOWN]:
        say(fault, style="red")
    if len(kinds) > _SHOWN:
        say(f"... and {len(kinds) - _SHOWN} more{where}", style="red")
