"""`fakd data check`: every file of a data set opened once, and everything that is wrong with it."""

import json
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import KW_ONLY, dataclass
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any

import torch
from rich.table import Table
from rich.text import Text
from torch import Tensor

from fakd.console import console, progress, say
from fakd.data import get_dataset
from fakd.data.bands import BandsConfig
from fakd.data.paired_files import PairedFiles, UnpairedError
from fakd.data.sets.hub import HUB
from fakd.data.spec import SPLITS, DataError, DatasetSpec, Source
from fakd.data.user.folder import FOLDER, base_of, crop_of
from fakd.files.atomic import check_free, written_at_once
from fakd.options import Output
from fakd.types import IGNORE_INDEX

_SHOWN = 50
_MOST = 0.5
"""Share of the labelled pixels from which on one class holds most."""


@dataclass
class CheckConfig(BandsConfig):
    """Open every file of a data set once: list all faults, count the images and the pixels of every class."""

    dataset: str
    """Data set, as camvid, ade20k, folder or hf:NAME."""
    root: Path | None = None
    """Folder of the data set."""
    _: KW_ONLY
    workers: int = 4
    """How many files to read at once."""
    output: Output | None = None
    """File to write the report to, with all faults, as JSON."""
    overwrite: bool = False
    """Replace that file if it exists."""


@dataclass(frozen=True)
class SplitReport:
    """What was found in one split."""

    images: int
    """How many pairs of an image and a mask there are."""
    published: int | None
    """How many there should be; None where nothing is published."""
    pixels: Tensor
    """(256,) number of pixels of every class, and of ignored ones at 255."""
    sizes: list[tuple[int, int]]
    """(height, width) of every pair that could be read."""
    faults: list[str]
    """One message each, which names the file."""

    def share(self, index: int) -> float | None:
        """Percentage of all pixels that a class has, or that are ignored (255); None if nothing could be read."""
        total = int(self.pixels.sum())
        return 100 * int(self.pixels[index]) / total if total else None


def check_dataset(config: CheckConfig) -> dict[str, Any]:
    """Check both splits of a data set; print the faults, the number of images and the share of every class.

    Returns:
        The report, as it is written to `output`.

    Raises:
        ValueError: An option is out of range.
        FileExistsError: The file for the report is there already.
        DataError: There are faults; the report was printed and written before.
    """
    if config.workers < 1:
        raise ValueError(f"workers must be 1 or more, got {config.workers}.")
    if config.output is not None:
        check_free(Path(config.output), config.overwrite)
    spec = get_dataset(config.dataset, config.root, config.chosen_bands())
    if spec.needs_root and config.root is None:
        raise ValueError(f"dataset {spec.name!r} is read from disk: say where it is with --root FOLDER.")
    splits = {
        split: _check_split(spec, config.root, split, config.workers)
        for split in dict.fromkeys((*SPLITS, *spec.counts))
    }
    # A file that is in two splits, or beside them, is one fault.
    faults = list(dict.fromkeys(fault for found in splits.values() for fault in found.faults))
    report = _report(spec, config.root, splits, faults)
    advice = _advice(spec, splits["train"])
    report["recommended"] = {option: value for option, value, _ in advice}
    if config.output is not None:
        with written_at_once(Path(config.output)) as path:
            path.write_text(json.dumps(report, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    _print(spec, splits, faults)
    for option, value, why in advice:
        say(f"recommended: --{option.replace('_', '-')} {value}, {why}")
    if config.output is not None:
        say(f"report written to {config.output}")
    if faults:
        raise DataError(f"{spec.name} has {len(faults)} fault{'s' if len(faults) > 1 else ''}, listed above.")
    say("no faults", style="bold green")
    return report


def _check_split(spec: DatasetSpec, root: Path | None, split: str, workers: int) -> SplitReport:
    source, faults = _open(spec, root, split)
    sizes: list[tuple[int, int]] = []
    published, pixels = spec.counts.get(split), torch.zeros(256, dtype=torch.int64)
    if source is None:
        return SplitReport(0, published, pixels, sizes, faults)
    if published not in (None, len(source)):
        faults.append(
            f"{split}: {len(source):,} images with masks there, but {spec.name} is published with {published:,}. "
            "Files are missing, or do not belong there; unpack the archive again."
        )
    # Decoding releases the interpreter lock, so threads are enough.
    with progress("images") as bar, ThreadPoolExecutor(workers) as pool:
        task = bar.add_task(f"checking {split}", total=len(source), note="")
        for counted, size, found in pool.map(partial(_check_sample, source), range(len(source))):
            pixels += counted
            sizes += size
            faults += found
            bar.advance(task)
    return SplitReport(len(source), published, pixels, sizes, faults)


def _open(spec: DatasetSpec, root: Path | None, split: str) -> tuple[Source | None, list[str]]:
    """Open a split with what pairs up in it, and say what does not."""
    try:
        return spec.open(root, split), []
    except UnpairedError as error:
        return error.source, error.faults
    except DataError as error:
        return None, [str(error)]


def _check_sample(source: Source, index: int) -> tuple[Tensor, list[tuple[int, int]], list[str]]:
    """Count the pixels of every class in one sample, and tell its size; or list its faults."""
    try:
        label = source[index].label
    except DataError as error:
        found = source.faults(index) if isinstance(source, PairedFiles) else []
        return torch.zeros(256, dtype=torch.int64), [], found or [str(error)]
    return torch.bincount(label.flatten(), minlength=256), [(label.shape[0], label.shape[1])], []


def _advice(spec: DatasetSpec, train: SplitReport) -> list[tuple[str, str, str]]:
    """Options that suit data of a user's own, with their values, and why; the published data sets have theirs."""
    if not (spec.name == FOLDER or spec.name.startswith(HUB)) or not train.sizes:
        return []
    found = []
    labelled = train.pixels[: spec.num_classes]
    largest = int(labelled.argmax())
    share = float(labelled[largest] / labelled.sum().clamp_min(1))
    if share > _MOST:
        why = f"as {spec.classes[largest]} is {100 * share:.0f}% of the labelled pixels in train (recipe own has it)"
        found.append(("class_weights", "sqrt", why))
    height, width = (median(side) for side in zip(*train.sizes, strict=True))
    base = base_of(height, width)
    count = len(set(train.sizes))
    sizes = f"of {count} sizes found, {height:g}x{width:g} is the median" if count > 1 else "the one size found"
    for option, size in (("base_size", base), ("crop_size", crop_of(base))):
        why = sizes + ("" if getattr(spec, option) != size else ", as by default")
        found.append((option, f"{size[0]}x{size[1]}", why))
    from fakd.training import RunConfig  # which takes seconds to import, and is only needed here
    from fakd.training.recipe import read_recipe

    crops = RunConfig.batch_size
    steps = read_recipe("own").steps(train.images, crops)
    passes = f"{steps * crops / train.images:.0f} passes over {train.images:,} images"
    found.append(("max_steps", str(steps), f"{passes} with {crops} crops a step (recipe own has it)"))
    return found


def _report(
    spec: DatasetSpec, root: Path | None, splits: Mapping[str, SplitReport], faults: Sequence[str]
) -> dict[str, Any]:
    return {
        "dataset": spec.name,
        "root": None if root is None else str(root),
        "classes": spec.num_classes,
        "fault_count": len(faults),
        "splits": {
            split: {
                "images": found.images,
                "published": found.published,
                "pixels": int(found.pixels.sum()),
                "share_percent": {name: found.share(index) for index, name in enumerate(spec.classes)},
                "ignored_percent": found.share(IGNORE_INDEX),
                "faults": found.faults,
            }
            for split, found in splits.items()
        },
    }


def _print(spec: DatasetSpec, splits: Mapping[str, SplitReport], faults: Sequence[str]) -> None:
    console.print(_counts_table(spec, splits))
    console.print(_shares_table(spec, splits))
    for split, found in splits.items():
        absent = [name for index, name in enumerate(spec.classes) if found.share(index) == 0]
        if absent:
            # Masks of 0 and 255 are common, and 255 is taken for "ignore" wherever no class has that value.
            ignored = f"; {share:.1f}% of all pixels are ignored" if (share := found.share(IGNORE_INDEX)) else ""
            say(f"never in {split}: {', '.join(absent)}{ignored}", style="yellow")
    for fault in faults[:_SHOWN]:
        say(fault, style="red")
    if len(faults) > _SHOWN:
        say(f"... and {len(faults) - _SHOWN} more; --output FILE writes all of them", style="red")


def _counts_table(spec: DatasetSpec, splits: Mapping[str, SplitReport]) -> Table:
    table = Table("split", "images", "published", "faults", title=spec.name)
    for column in table.columns[1:]:
        column.justify = "right"
    for split, found in splits.items():
        published = "-" if found.published is None else f"{found.published:,}"
        table.add_row(split, f"{found.images:,}", published, f"{len(found.faults):,}")
    return table


def _shares_table(spec: DatasetSpec, splits: Mapping[str, SplitReport]) -> Table:
    table = Table("class", *(f"{split}, % of pixels" for split in splits))
    for column in table.columns[1:]:
        column.justify = "right"
    for index, name in enumerate(spec.classes):
        shares = [found.share(index) for found in splits.values()]
        table.add_row(Text(name), *(Text("never", "yellow") if share == 0 else _percent(share) for share in shares))
    table.add_section()
    table.add_row("ignored", *(_percent(found.share(IGNORE_INDEX)) for found in splits.values()))
    return table


def _percent(share: float | None) -> str:
    return "-" if share is None else f"{share:.3f}"
