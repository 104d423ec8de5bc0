"""A folder for `--dataset folder` from annotations: images, masks of indices, the list of classes."""

import os
import shutil
from collections import Counter, defaultdict
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Literal

import numpy as np
import numpy.typing as npt
import torch

from fakd.console import progress
from fakd.data.importing.annotations import Annotated, Shape
from fakd.data.importing.planning import ClassPlan
from fakd.data.importing.shapes import mask_library
from fakd.data.pairing import IMAGE_SUFFIXES, listed
from fakd.data.palette import write_label_png
from fakd.data.reading import upright_size
from fakd.data.spec import DataError
from fakd.data.user.class_file import read_class_list, write_class_list
from fakd.data.user.masks import hex_colour, voc_colour
from fakd.types import IGNORE_INDEX

Labels = npt.NDArray[np.uint8]
Overlaps = Literal["smaller", "later"]

_THREADS = 4
_SLACK = 1.0  # pixels: tools round


@dataclass(frozen=True)
class Written:
    """What became of the images."""

    counts: Counter[str]
    """How many are in every split."""
    faults: list[str]
    """Of those that were left out."""
    cut: list[str]
    """Shapes that reach beyond their image, of which only what lies inside was drawn."""


def write_folder(
    images: Sequence[Annotated], root: Path, plan: ClassPlan, overlaps: Overlaps, known: Sequence[str], skip: bool
) -> Written:
    """Write images, masks and classes.txt; all of it, or nothing where there are faults.

    Args:
        images: each with a split.
        root: a folder that is not there, or empty.
        plan: the classes.
        overlaps: see `draw`.
        known: faults that were found before.
        skip: whether to leave images with faults out, instead of writing nothing.

    Raises:
        DataError: there are faults, and they are its text, one a line; or nothing is left to train on or validate on.
    """
    root = root.absolute()
    root.parent.mkdir(parents=True, exist_ok=True)
    twice = _twice(images)
    with TemporaryDirectory(dir=root.parent, prefix=f".{root.name}.") as temporary:
        folder = Path(temporary) / "whole"
        work = partial(_write, folder, plan, overlaps)
        cut: list[str] = []
        faults, counts = [*known], Counter[str]()
        with progress("images") as bar, ThreadPoolExecutor(_THREADS) as pool:
            task = bar.add_task("importing", total=len(images), note="")
            for image, (found, beyond) in zip(images, pool.map(work, images, twice), strict=True):
                faults += found
                cut += beyond
                counts[image.split] += not found
                bar.advance(task)
        if faults and not skip:
            raise DataError("\n".join(faults))
        if not (counts["train"] and counts["val"]):
            raise DataError("\n".join([*faults, "too few images are without fault: none to train or to validate on."]))
        lines = [f"{name} {hex_colour(colour)}\n" for name, colour in zip(plan.names, plan.palette, strict=True)]
        (folder / "classes.txt").write_text("".join(lines), encoding="utf-8")
        if not _understood(folder, plan.names):
            (folder / "classes.txt").unlink()
            write_class_list(folder, plan.names, plan.palette)
        if root.exists():
            root.rmdir()
        os.replace(folder, root)
    return Written(counts, faults, cut)


def _understood(folder: Path, names: Sequence[str]) -> bool:
    """Whether the names are read as they were written: some look like something else in lines of text."""
    try:
        return tuple(item.name for item in read_class_list(folder).classes) == tuple(names)
    except DataError:
        return False


def _twice(images: Sequence[Annotated]) -> list[list[str]]:
    """For every image its faults with others: a file that is annotated twice, and names that are the same."""
    places: dict[object, list[Annotated]] = defaultdict(list)
    for image in images:
        places[image.image.resolve()].append(image)
        places[image.split, image.name].append(image)
    found = []
    for image in images:
        same, named = places[image.image.resolve()], places[image.split, image.name]
        messages = []
        if len(same) > 1:
            files = listed([other.file for other in same])
            messages = [f"{image.file}: {image.image} is annotated {len(same)} times ({files}). Keep one of them."]
        elif len(named) > 1:
            files = listed([other.image for other in named])
            messages = [f"{image.file}: several images are called {image.name} ({files}). Rename all but one."]
        found.append(messages)
    return found


def _write(
    folder: Path, plan: ClassPlan, overlaps: Overlaps, image: Annotated, faults: Sequence[str]
) -> tuple[list[str], list[str]]:
    """Write one image and its mask; tell its faults, in which case nothing is written, and which shapes were cut."""
    found, cut = [*faults, *image.faults], []
    labels = None
    try:
        if image.image.suffix.lower() not in IMAGE_SUFFIXES:
            raise DataError(f"{image.image}: expected an image that ends in {', '.join(IMAGE_SUFFIXES)}. Convert it.")
        if image.mask is None:
            size = _size(image)
            cut = [what for shape in image.shapes if (what := _beyond(image, shape, size, found))]
            labels = None if found else draw(image.shapes, size, plan, overlaps)
        else:
            table = np.arange(256, dtype=np.uint8)  # 255 is ignored in the source too
            table[: len(plan.index)] = list(plan.index.values())
            labels = table[image.mask[0].label.numpy()]
    except DataError as error:
        found += (image.mask.faults(0) if image.mask else None) or [str(error)]
    except ValueError as error:  # of pycocotools
        found.append(f"{image.file}: {image.image.name}: {error}.")
    if found or labels is None:
        return found, cut
    _save_mask(folder / "masks" / image.split / f"{image.name}.png", labels, plan)
    place_image(folder / "images" / image.split / f"{image.name}{image.image.suffix}", image.image)
    return [], cut


def _size(image: Annotated) -> tuple[int, int]:
    """(height, width) of an image, which must be what its annotation says."""
    height, width = size = upright_size(image.image)
    if image.size is not None and image.size != size:
        raise DataError(
            f"{image.file}: drawn on {image.size[1]}x{image.size[0]} pixels (width x height), but {image.image} has "
            f"{width}x{height} (after EXIF rotation). Put the image there that it was drawn on."
        )
    return size


def _beyond(image: Annotated, shape: Shape, size: tuple[int, int], faults: list[str]) -> str | None:
    """How a message calls a shape that reaches beyond its image; one that lies outside is a fault."""
    left, top, right, bottom = shape.geometry.box
    height, width = size
    outside = right <= 0 or bottom <= 0 or left >= width or top >= height
    # a corner further away than the image is long was meant for another image, or in other units
    if outside or left < -width or top < -height or right > 2 * width or bottom > 2 * height:
        faults.append(
            f"{image.file}: {shape.what} reaches from {left:g}, {top:g} to {right:g}, {bottom:g}, outside its image "
            f"{image.image.name} of {width}x{height} pixels. Correct or delete it."
        )
    beyond = max(-left, -top, right - width, bottom - height)
    return f"{image.file}, {shape.what}" if beyond > _SLACK else None


def draw(shapes: Sequence[Shape], size: tuple[int, int], plan: ClassPlan, overlaps: Overlaps) -> Labels:
    """The value of every pixel of an image.

    Args:
        shapes: in their order.
        size: (height, width).
        plan: the classes.
        overlaps: which of two shapes lies above the other: the smaller one, and of equal ones the later; or the later.

    Returns:
        (H, W) values.

    Raises:
        ValueError: A shape has run lengths of another size.
    """
    labels = np.full(size, plan.uncovered, dtype=np.uint8)
    if not shapes:
        return labels
    mask = mask_library()
    drawn = [(shape.name, shape.geometry.runs(*size)) for shape in shapes]
    if overlaps == "smaller":
        drawn.sort(key=lambda one: mask.area(one[1]), reverse=True)
    for name, runs in drawn:
        labels[mask.decode(runs).astype(bool)] = IGNORE_INDEX if name is None else plan.index[name]
    return labels


def _save_mask(path: Path, labels: Labels, plan: ClassPlan) -> None:
    """Write indices, which a viewer shows in the classes' colours."""
    path.parent.mkdir(parents=True, exist_ok=True)
    ignored = next(colour for place in range(255, 0, -1) if (colour := voc_colour(place)) not in plan.palette)
    colours = [*plan.palette, *[(0, 0, 0)] * (IGNORE_INDEX - len(plan.palette)), ignored]
    write_label_png(path, torch.from_numpy(labels), colours)


def place_image(path: Path, image: Path) -> None:
    """Put an image there as a hard link, which takes no room; as a copy where the disk has none."""
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        os.link(image.resolve(), path)
    except OSError:
        shutil.copyfile(image, path)
