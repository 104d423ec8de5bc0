"""`fakd data check`: every file of a data set opened once, and everything that is wrong with it."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import KW_ONLY, dataclass
from math import prod
from pathlib import Path
from typing import Any

import torch
from rich.table import Column, Table
from rich.text import Text

from fakd.console import console, say
from fakd.data import get_dataset
from fakd.data.bands import BandsConfig
from fakd.data.pairing import listed
from fakd.data.sets.hub import HUB
from fakd.data.spec import SPLITS, DataError, DatasetSpec
from fakd.data.survey import Survey, say_faults, survey_split
from fakd.data.user.class_file import read_class_list
from fakd.data.user.folder import FOLDER, base_of, crop_of
from fakd.data.user.palettes import palette_faults
from fakd.data.user.proposal import proposed_classes
from fakd.files.atomic import check_free, written_at_once
from fakd.options import Output, check_least
from fakd.types import IGNORE_INDEX

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


def check_dataset(config: CheckConfig) -> dict[str, Any]:
    """Check both splits of a data set; print the faults, the number of images and the share of every class.

    Returns:
        The report, as it is written to `output`.

    Raises:
        ValueError: An option is out of range.
        FileExistsError: The file for the report is there already.
        DataError: There are faults; the report was printed and written before.
    """
    check_least(config, workers=1)
    if config.output is not None:
        check_free(Path(config.output), config.overwrite)
    spec = get_dataset(config.dataset, config.root, config.chosen_bands())
    if spec.needs_root and config.root is None:
        raise ValueError(f"dataset {spec.name!r} is read from disk: say where it is with --root FOLDER.")
    height, width = spec.base_size
    say(f"{spec.name}: {spec.num_classes} classes; images are fitted into {height}x{width} (height x width)")
    names = dict.fromkeys((*SPLITS, *spec.counts))
    splits = {split: survey_split(spec, config.root, split, config.workers) for split in names}
    contradicting = palette_faults({path: mask for found in splits.values() for path, mask in found.palettes.items()})
    for found in splits.values():
        found.faults += [f"{path}: {contradicting[path]}" for path in found.palettes if path in contradicting]
    # A file that is in two splits, or beside them, is one fault.
    faults = list(dict.fromkeys(fault for found in splits.values() for fault in found.faults))
    report = _report(spec, config.root, splits, faults)
    advice = _advice(spec, splits["train"], [size for found in splits.values() for size in found.sizes])
    report["recommended"] = {option: value for option, value, _ in advice}
    if config.output is not None:
        with written_at_once(Path(config.output)) as path:
            text = json.dumps(report, indent=2, ensure_ascii=False) + "\n"
            path.write_text(text, encoding="utf-8", errors="backslashreplace")
    _print(spec, config.root, splits, faults)
    if spec.name == FOLDER and config.root is not None and (proposal := _proposal(spec, config.root, splits)):
        say("the masks hold what the classes do not say. With this classes.yaml they do, once its names are right:")
        say(proposal)
    for option, value, why in advice:
        say(f"recommended: --{option.replace('_', '-')} {value}, {why}")
    if config.output is not None:
        say(f"report written to {config.output}")
    if faults:
        raise DataError(f"{spec.name} has {len(faults)} fault{'s' if len(faults) > 1 else ''}, listed above.")
    say("no faults", style="bold green")
    return report


def _advice(spec: DatasetSpec, train: Survey, sizes: Sequence[tuple[int, int]]) -> list[tuple[str, str, str]]:
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
    base = base_of(sizes)
    (low, left), (high, right) = (choose(sizes, key=prod) for choose in (min, max))
    several = len(set(sizes)) > 1
    reason = f"the median of sizes from {low}x{left} to {high}x{right}" if several else "the one size found"
    for option, size in (("base_size", base), ("crop_size", crop_of(base))):
        why = reason + ("" if getattr(spec, option) != size else ", as by default")
        found.append((option, f"{size[0]}x{size[1]}", why))
    from fakd.training import RunConfig  # which takes seconds to import, and is only needed here
    from fakd.training.recipe import read_recipe

    crops = RunConfig.batch_size
    steps = read_recipe("own").steps(train.images, crops)
    passes = f"{steps * crops / train.images:.0f} passes over {train.images:,} images"
    found.append(("max_steps", str(steps), f"{passes} with {crops} crops a step (recipe own has it)"))
    return found


def _report(
    spec: DatasetSpec, root: Path | None, splits: Mapping[str, Survey], faults: Sequence[str]
) -> dict[str, Any]:
    return {
        "dataset": spec.name,
        "root": None if root is None else str(root),
        "classes": spec.num_classes,
        "fault_count": len(faults),
        "splits": {
            split: {
                "images": found.images,
                "published": spec.counts.get(split),
                "pixels": int(found.pixels.sum()),
                "share_percent": {name: found.share(index) for index, name in enumerate(spec.classes)},
                "ignored_percent": found.share(IGNORE_INDEX),
                "faults": found.faults,
                "images_of_one_value": list(map(str, found.plain)),
            }
            for split, found in splits.items()
        },
    }


def _proposal(spec: DatasetSpec, root: Path, splits: Mapping[str, Survey]) -> str | None:
    """The classes.yaml that all masks would need; None where the present one does."""
    classes = read_class_list(root)
    found = {thing for survey in splits.values() for thing in survey.stored}
    pixels = torch.stack([survey.pixels for survey in splits.values()]).sum(0)
    found |= {item.values[0] for index, item in enumerate(classes.classes) if pixels[index]}
    if pixels[IGNORE_INDEX] and spec.num_classes == 2:  # masks of 0 and 255 are common
        found.add(IGNORE_INDEX)
    return proposed_classes(classes, found)


def _print(spec: DatasetSpec, root: Path | None, splits: Mapping[str, Survey], faults: Sequence[str]) -> None:
    console.print(_counts_table(spec, splits))
    console.print(_shares_table(spec, splits))
    for split, found in splits.items():
        absent = [name for index, name in enumerate(spec.classes) if found.share(index) == 0]
        if absent:
            # Masks of 0 and 255 are common, and 255 is taken for "ignore" wherever no class has that value.
            ignored = f"; {share:.1f}% of all pixels are ignored" if (share := found.share(IGNORE_INDEX)) else ""
            say(f"never in {split}: {', '.join(absent)}{ignored}", style="yellow")
        if found.plain:
            one = "one image in" if len(found.plain) == 1 else f"{len(found.plain)} images in"
            say(f"{one} {split} with all pixels the same: {listed(found.plain)}", style="yellow")
    say_faults(faults, root, "; --output FILE writes all of them")


def _counts_table(spec: DatasetSpec, splits: Mapping[str, Survey]) -> Table:
    counts = (Column(name, justify="right") for name in ("images", "published", "faults"))
    table = Table("split", *counts, title=spec.name)
    for split, found in splits.items():
        published = f"{spec.counts[split]:,}" if split in spec.counts else "-"
        table.add_row(split, f"{found.images:,}", published, f"{len(found.faults):,}")
    return table


def _shares_table(spec: DatasetSpec, splits: Mapping[str, Survey]) -> Table:
    table = Table("class", *(Column(f"{split}, % of pixels", justify="right") for split in splits))
    for index, name in enumerate(spec.classes):
        shares = [found.share(index) for found in splits.values()]
        table.add_row(Text(name), *(Text("never", "yellow") if share == 0 else _percent(share) for share in shares))
    table.add_section()
    table.add_row("ignored", *(_percent(found.share(IGNORE_INDEX)) for found in splits.values()))
    return table


def _percent(share: float | None) -> str:
    return "-" if share is None else f"{share:.3f}"
