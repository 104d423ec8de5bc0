"""Which image file belongs to which mask file, by their names."""

import os
import re
import unicodedata
from bisect import bisect_left
from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import takewhile
from pathlib import Path

from fakd.data.spec import DataError

IMAGE_SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp", ".webp", ".tif", ".tiff")
"""File types that are taken for images, in any case."""

_LOSSY_SUFFIXES = (".jpg", ".jpeg", ".webp")

# An ending starts like a new word and is not only a number, or 0001 would be taken for the partner of 0002.
_ENDING = re.compile(r"[_\-. ][^/]*[^\W\d_]{2}[^/]*|")
_ASKED = 200
_TRIED = 8
_NEIGHBOURS = 8


@dataclass(frozen=True)
class Problem:
    """One thing that is wrong with a number of files."""

    summary: str
    """One message for all of them."""
    faults: tuple[str, ...]
    """One message a file."""


class Pairs(list[tuple[Path, Path]]):
    """(image path, mask path) of every sample, and what could not be paired.

    `PairedFiles` refuses pairs with problems; a check shows the problems and goes on with the pairs.
    """

    def __init__(self, pairs: Sequence[tuple[Path, Path]] = (), problems: Sequence[Problem] = ()) -> None:
        super().__init__(pairs)
        self.problems = tuple(problems)


def pair_folders(images_dir: Path, masks_dir: Path, image_end: str = "", mask_end: str = "") -> Pairs:
    """Pair the images below one folder with the masks at the same place below another.

    Args:
        images_dir: Searched with all its subfolders.
        masks_dir: As well.
        image_end: What the names of images end in before ".jpg", and which masks lack, as "_leftImg8bit".
        mask_end: As well for masks; masks that end otherwise are passed over, as other kinds of labels often lie
            beside them.

    Returns:
        (image path, mask path), sorted by name. Files without partner and the like are its `problems`.

    Raises:
        DataError: A folder is missing, or there is no image or no mask in it.
    """
    images, doubtful_images = images_by_name(images_dir, "images", image_end)
    masks, doubtful_masks = images_by_name(masks_dir, "masks", mask_end, passing_over=True)
    return pair_names(images, masks, images_dir, masks_dir, [*doubtful_images, *doubtful_masks])


def pair_names(
    images: Mapping[str, Path],
    masks: Mapping[str, Path],
    images_dir: Path,
    masks_dir: Path,
    problems: Sequence[Problem] = (),
) -> Pairs:
    """Pair files that go by the same name; `problems` are those found so far.

    Returns:
        (image path, mask path), sorted by name, with the problems.
    """
    found = [
        *problems,
        *_lossy(masks, masks_dir),
        *_alone(images, masks, "image", "mask", masks_dir),
        *_alone(masks, images, "mask", "image", images_dir),
    ]
    both = sorted(name for name in images if name in masks and not _is_lossy(masks[name]))
    return Pairs([(images[name], masks[name]) for name in both], found)


def find_ends(images: Collection[str], masks: Collection[str], advice: str) -> tuple[str, str]:
    """Find the two endings that make most images and masks partners once they are stripped.

    Args:
        images: Names below the folder of images, without file suffix.
        masks: As well.
        advice: What to do if there are none, for the error.

    Returns:
        Ending of images and ending of masks; both are empty where most names are the same.

    Raises:
        DataError: No endings pair more than half of the fewer files, or several do so equally well.
    """
    least = min(len(images), len(masks)) / 2
    if _count(images, masks, "", "") > least:
        return "", ""
    candidates = [ends for ends, _ in Counter(_shared(images, masks)).most_common(_TRIED)]
    paired = {ends: _count(images, masks, *ends) for ends in candidates}
    best = max(paired.values(), default=0)
    winners = [ends for ends, count in paired.items() if count == best]
    if best <= least:
        raise DataError(
            f"no rule pairs images with masks: images are named as {min(images)}, masks as {min(masks)}. {advice}"
        )
    if len(winners) > 1:
        pairs = " or ".join(f'"{image}" with "{mask}"' for image, mask in winners)
        raise DataError(f"unclear which masks belong to the images, those of names ending in {pairs}. {advice}")
    return winners[0]


def image_files(folder: Path) -> Iterator[Path]:
    """Give the image files below a folder in a fixed order; linked folders are entered, hidden files left out.

    Raises:
        OSError: a folder cannot be read.
    """

    def stop(error: OSError) -> None:  # which os.walk would pass over
        raise error

    for at, folders, names in os.walk(folder, followlinks=True, onerror=stop):
        outside = Path(at).parent.resolve()
        if Path(at).resolve() in (outside, *outside.parents):  # a link to a folder above, without end
            folders.clear()
            continue
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for name in sorted(names):
            # A leading dot is a hidden file, such as the "._name.png" that macOS leaves on other disks.
            if name.lower().endswith(IMAGE_SUFFIXES) and not name.startswith("."):
                yield Path(at, name)


def images_by_name(
    folder: Path, kind: str, end: str = "", passing_over: bool = False
) -> tuple[dict[str, Path], list[Problem]]:
    """Find the image files below a folder by the name that an image and its mask share.

    Args:
        folder: Where to look.
        kind: "images" or "masks", for errors.
        end: What is stripped from the end of names, after the file suffix.
        passing_over: Whether to leave out files that end otherwise, instead of keeping their whole name.

    Returns:
        Files by name, sorted; and names that occur twice.

    Raises:
        DataError: The folder is missing, or there is no such file in it.
    """
    if not folder.is_dir():
        raise DataError(f"{folder}: no such folder, expected the {kind} there. Check the path.")
    found: dict[str, Path] = {}
    problems: list[Problem] = []
    for path in image_files(folder):
        name = name_below(folder, path)
        if passing_over and not name.endswith(end):
            continue
        name = name.removesuffix(end)
        if name in found:
            message = (
                f"{folder}: {found[name].name} and {path.name} have the same name without suffix, "
                "so it is unclear which one belongs to its partner. Remove or rename one of them."
            )
            problems.append(Problem(message, (message,)))
        found.setdefault(name, path)
    if not found:
        ends = ", ".join(f"{end}{suffix}" for suffix in IMAGE_SUFFIXES)
        raise DataError(f"{folder}: no {kind} there, expected files ending in {ends}.")
    return found, problems


def name_below(folder: Path, path: Path) -> str:
    """Return the path below a folder without file suffix, in one spelling of accented letters."""
    return one_spelling(os.path.splitext(path.relative_to(folder).as_posix())[0])


def one_spelling(text: str) -> str:
    """Write accented letters as one character: macOS writes two, so an image and its mask may differ in that."""
    return unicodedata.normalize("NFC", text)


def listed(items: Sequence[object], most: int = 5) -> str:
    """Write the first few items, and how many more there are."""
    more = f" and {len(items) - most} more" if len(items) > most else ""
    return ", ".join(map(str, items[:most])) + more


def _is_lossy(path: Path) -> bool:
    return path.suffix.lower() in _LOSSY_SUFFIXES


def _lossy(masks: Mapping[str, Path], at: Path) -> Iterator[Problem]:
    lossy = [path for path in masks.values() if _is_lossy(path)]
    if lossy:
        advice = (
            "expected PNG. Such compression changes pixel values, so class indices are lost; export the masks as PNG."
        )
        names = listed([path.name for path in lossy])
        yield Problem(
            f"{at}: {len(lossy)} masks are JPEG or WebP files ({names}), {advice}",
            tuple(f"{path}: the mask is a JPEG or WebP file, {advice}" for path in lossy),
        )


def _alone(ones: Mapping[str, Path], others: Mapping[str, Path], one: str, other: str, at: Path) -> Iterator[Problem]:
    alone = [path for name, path in sorted(ones.items()) if name not in others]
    if alone:
        names = listed([path.name for path in alone])
        yield Problem(
            f"{at}: no {other} for {len(alone)} of {len(ones)} {one}s ({names}). "
            f"Expected a file of the same name without suffix for each; add the {other}s or remove the {one}s.",
            tuple(f"{path}: the {one} has no {other} in {at}; add the {other} or remove the {one}." for path in alone),
        )


def _shared(images: Collection[str], masks: Collection[str]) -> Iterator[tuple[str, str]]:
    """Give the endings of some images and of the masks around it in the alphabet, beyond what they share."""
    ordered = sorted(masks)
    for image in sorted(images)[:: max(1, len(images) // _ASKED)]:
        place = bisect_left(ordered, image)
        for mask in ordered[max(place - _NEIGHBOURS, 0) : place + _NEIGHBOURS]:
            stem = image[: sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], zip(image, mask, strict=False)))]
            # Usually the shared part goes beyond the word: x_p of x_photo and x_png.
            for cut in (len(stem), max(map(stem.rfind, "_-. "))):
                ends = image[cut:], mask[cut:]
                if os.path.basename(stem[: max(cut, 0)]) and all(map(_ENDING.fullmatch, ends)):
                    yield ends
                    break


def _count(images: Collection[str], masks: Collection[str], image_end: str, mask_end: str) -> int:
    bare = {name.removesuffix(image_end) for name in images if name.endswith(image_end)}
    return len(bare & {name.removesuffix(mask_end) for name in masks if name.endswith(mask_end)})
