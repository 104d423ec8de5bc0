"""Which image file belongs to which mask file."""

import os
import unicodedata
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from fakd.data.spec import DataError

IMAGE_SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp", ".webp", ".tif", ".tiff")
"""File types that are taken for images, in any case."""

_LOSSY_SUFFIXES = (".jpg", ".jpeg", ".webp")


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


def require_folders(dataset: str, root: Path | None, folders: Sequence[str]) -> Path:
    """Return `root` if it holds all `folders`.

    Raises:
        DataError: No root was given, or it or one of the folders does not exist.
    """
    expected = f"expected a folder that contains {', '.join(f'{name}/' for name in folders)}"
    if root is None:
        raise DataError(f"{dataset} needs the path of its files, but no root was given; {expected}.")
    root = Path(root).expanduser()
    if not root.is_dir():
        raise DataError(f"{root}: no such folder; for {dataset} {expected}. Check the path of the root.")
    missing = [f"{name}/" for name in folders if not (root / name).is_dir()]
    if missing:
        raise DataError(f"{root}: {', '.join(missing)} missing; for {dataset} {expected}.")
    return root


def image_files(folder: Path) -> Iterator[Path]:
    """Give the image files below a folder in a fixed order; linked folders are entered, hidden files left out."""
    for at, folders, names in os.walk(folder, followlinks=True):
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
