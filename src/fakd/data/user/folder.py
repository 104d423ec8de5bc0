"""A user's own images and masks.

    ROOT/
        classes.txt           or classes.yaml: the classes, see fakd.data.user.class_file
        images/               .jpg, .png, .bmp, .webp or .tif, in any subfolders
            street/0001.jpg
        masks/                the mask of an image lies at the same place, with the same name;
            street/0001.png   .png, .bmp or .tif, with class indices or colours; or labels/, as in what
                              `fakd predict` writes
        val.txt               what images validate, one name a line, as street/0001
        train.txt             what images are trained on; without it, all the rest

Images and masks may end differently, as street/0001_photo.jpg and street/0001_gt.png; the endings are found, or said in
classes.yaml. Instead of val.txt, splits may be folders, inside images/ and masks/ or outside:

    ROOT/images/train  ROOT/masks/train  ROOT/images/val  ROOT/masks/val
    ROOT/train/images  ROOT/train/masks  ROOT/val/images  ROOT/val/masks

The rule is: lists come first (in ROOT or ROOT/splits), then the folders of the split; what is left of images/ is for
training, but never what lies in the folder of another split. "test" works as "val" does. No split is ever drawn by
chance: without a list or a folder there is none.
"""

import os
import posixpath
from collections.abc import Mapping, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path
from statistics import median

from fakd.console import printable
from fakd.data.bands import Bands
from fakd.data.paired_files import PairedFiles
from fakd.data.pairing import (
    IMAGE_SUFFIXES,
    Pairs,
    Problem,
    find_ends,
    image_files,
    images_by_name,
    listed,
    name_below,
    one_spelling,
    pair_names,
)
from fakd.data.reading import upright_size
from fakd.data.spec import DataError, DatasetSpec
from fakd.data.user.class_file import read_class_list
from fakd.data.user.masks import ClassList, UserMasks
from fakd.data.user.raster_tiles import open_pairs, tile_size

FOLDER = "folder"
"""The name of this data set in configurations."""

_HELD_OUT = ("val", "test")
_SPLITS = ("train", *_HELD_OUT)
_LARGEST_SIDE = 2048
_LARGEST_CROP = 512
_MEASURED = 1000  # images
_CROP_STEP = 8  # the stride of the networks' maps


def describe_folder(
    root: Path | None, bands: Bands | None = None, base_size: tuple[int, int] | None = None
) -> DatasetSpec:
    """Read the description of a user's folder.

    Images are fitted into the median size of the images, scaled down where a side is longer than 2048 pixels, unless
    classes.yaml says otherwise; crops are squares of its shorter side, of 512 pixels at most. Of rasters that is the
    size of the tiles that they are cut into, 1024 pixels a side at most.

    Args:
        root: the folder.
        bands: what is read of TIFF files.
        base_size: (height, width) of the tiles, where they are to be of another size.

    Raises:
        DataError: There is no such folder, no image in it, or no list of classes that makes sense.
    """
    if root is None:
        raise DataError(
            f"{FOLDER} needs the path of its files, but no root was given. Give the folder that holds them."
        )
    root = Path(root).expanduser()
    if not root.is_dir():
        raise DataError(f"{root}: no such folder, expected one with images/, masks/ and classes.txt. Check the path.")
    classes = read_class_list(root)
    bands = bands or Bands()
    base = _size(classes, "base_size") or _median_size(root, bands)
    tile = (base_size[0], base_size[1]) if base_size else base
    return DatasetSpec(
        name=FOLDER,
        classes=tuple(item.name for item in classes.classes),
        palette=classes.palette,
        base_size=base,
        crop_size=_size(classes, "crop_size") or crop_of(base),
        open=partial(_open, classes, root, bands, tile),
        bands=bands,
    )


def base_of(sizes: Sequence[tuple[int, int]]) -> tuple[int, int]:
    """What images of such sizes, (height, width), are fitted into: their median, no side longer than 2048 pixels.

    The median is of the longer and of the shorter sides, as the base size is turned for upright images.

    Example:
        >>> base_of([(24, 24), (96, 128), (128, 96), (100, 130)])
        (96, 128)
    """
    short, long = (median(map(side, sizes)) for side in (min, max))
    upright = 2 * sum(height > width for height, width in sizes) > len(sizes)
    height, width = (long, short) if upright else (short, long)
    shrink = min(1.0, _LARGEST_SIDE / max(height, width))
    return max(1, round(height * shrink)), max(1, round(width * shrink))


def crop_of(base: tuple[int, int]) -> tuple[int, int]:
    """The crops of images that are fitted so: squares of the shorter side, of 512 pixels at most.

    Example:
        >>> crop_of((1024, 2048)), crop_of((50, 72))
        ((512, 512), (48, 48))
    """
    side = max(_CROP_STEP, min(_LARGEST_CROP, *base) // _CROP_STEP * _CROP_STEP)
    return side, side


def _open(
    classes: ClassList, described: Path, bands: Bands, tile: tuple[int, int], root: Path | None, split: str
) -> PairedFiles:
    root = described if root is None else Path(root).expanduser()
    return open_pairs(root, _pairs(classes, root, split), classes.table, UserMasks(classes), bands, tile)


def _pairs(classes: ClassList, root: Path, split: str) -> Pairs:
    lists = _lists(root)
    images_dir, masks_dir = _folders(root, split, lists)
    image_end, mask_end = _ends(classes, images_dir, masks_dir)
    images, doubtful_images = images_by_name(images_dir, "images", image_end)
    masks, doubtful_masks = images_by_name(masks_dir, "masks", mask_end, passing_over=True)
    problems = [*doubtful_images, *doubtful_masks]
    if images_dir == root / "images":
        chosen = _chosen(images, masks, images_dir, lists, split, problems)
        images = {name: path for name, path in images.items() if name in chosen}
        masks = {name: path for name, path in masks.items() if name in chosen}
    return pair_names(images, masks, images_dir, masks_dir, problems)


def _lists(root: Path) -> dict[str, Path]:
    """The list of every split that has one."""
    places = [folder / f"{split}.txt" for folder in (root, root / "splits") for split in _SPLITS]
    return {path.stem: path for path in reversed(places) if path.is_file()}


def _folders(root: Path, split: str, lists: Mapping[str, Path]) -> tuple[Path, Path]:
    """The folders of images and of masks that a split is found in; images/ and masks/ hold other splits as well."""
    whole, inside, outside = root / "images", root / "images" / split, root / split / "images"
    if split in lists:
        return whole, _masks(root)
    if inside.is_dir() and outside.is_dir():
        raise DataError(
            f"{root}: both {inside} and {outside} are there, so it is unclear which is {split!r}. Keep one."
        )
    if outside.is_dir():
        if split == "train" and lists:
            raise DataError(
                f"{root}: unclear what to train on: there is {outside}, but {next(iter(lists.values()))} names images "
                f"below {whole}. Name those to train on in train.txt, or give all splits folders and remove the lists."
            )
        return outside, _masks(root / split)
    if inside.is_dir() and not lists:
        return inside, _masks(root) / split
    if inside.is_dir() or (split == "train" and whole.is_dir()):
        return whole, _masks(root)
    if split == "train":
        raise _nothing_to_train_on(root)
    raise DataError(
        f"{root}: no split {split!r} there, expected {split}.txt, or images/{split}/, or {split}/images/. "
        f"Move images and masks there, or name them in {split}.txt, one a line; for 20 drawn by chance: "
        f"(cd {root}/images && find . -type f | shuf -n 20) > {root}/{split}.txt"
    )


def _nothing_to_train_on(root: Path) -> DataError:
    return DataError(
        f"{root}: no images to train on, expected images/ and masks/, or train/images/ and train/masks/, with images "
        "of no other split."
    )


def _masks(beside: Path) -> Path:
    """The folder of masks; `fakd predict` calls it labels/, beside colours that are no masks."""
    masks, labels = beside / "masks", beside / "labels"
    return labels if labels.is_dir() and not masks.is_dir() else masks


def _ends(classes: ClassList, images_dir: Path, masks_dir: Path) -> tuple[str, str]:
    """What names of images and masks end in beyond what they share."""
    given = [classes.options.get(key) for key in ("image_suffix", "mask_suffix")]
    if given != [None, None]:
        image_end, mask_end = (_bare(end or "") for end in given)
        return image_end, mask_end
    images, _ = images_by_name(images_dir, "images")
    masks, _ = images_by_name(masks_dir, "masks")
    return find_ends(
        images,
        masks,
        f"Expected one file each at the same place below {images_dir} and {masks_dir}. Where names end "
        "differently, say how in classes.yaml, as image_suffix: _photo and mask_suffix: _gt.",
    )


def _chosen(
    images: dict[str, Path],
    masks: dict[str, Path],
    images_dir: Path,
    lists: Mapping[str, Path],
    split: str,
    problems: list[Problem],
) -> set[str]:
    """The names of a split, or of what no other split has; adds to `problems` what is wrong with the lists."""
    spellings = {
        spelling: name
        for name, path in images.items()
        for spelling in (name, name_below(images_dir, path), one_spelling(path.relative_to(images_dir).as_posix()))
    }
    lines = {listed_split: _read_list(path) for listed_split, path in lists.items()}
    names = {other: {spellings[line] for line in lines[other] if line in spellings} for other in lines}
    below = {part: {name for name in (*images, *masks) if name.startswith(f"{part}/")} for part in _SPLITS}
    held_out = set().union(*(names.get(other, below[other]) for other in _HELD_OUT if other != split))
    if split == "train" and "train" not in lists:
        rest = (below["train"] or {*images, *masks}) - held_out - below["val"] - below["test"]
        if not rest:
            raise _nothing_to_train_on(images_dir.parent)
        return rest
    place, chosen = (lists[split], names[split]) if split in lists else (images_dir / split, below[split])
    if lost := [line for line in lines.get(split, ()) if line not in spellings]:
        utf8 = " in UTF-8" if any(printable(line) != line for line in lost) else ""
        problems.append(
            Problem(
                f"{lists[split]}: {len(lost)} of {len(lines[split])} images are not there ({listed(lost)}). Expected "
                f"names{utf8} below {images_dir}, with or without suffix; add the images or remove the lines.",
                tuple(
                    f"{lists[split]}: no image {line} below {images_dir}; add it or remove the line." for line in lost
                ),
            )
        )
    if twice := sorted(chosen & held_out):
        problems.append(
            Problem(
                f"{place}: {len(twice)} images are in the list or the folder of another split too ({listed(twice)}). "
                "Scores on what was learned mean nothing; remove them from one of the two.",
                tuple(
                    f"{place}: {name} is in the list or the folder of another split too; remove it there or here."
                    for name in twice
                ),
            )
        )
    return chosen


def _read_list(path: Path) -> list[str]:
    text = path.read_text(encoding="utf-8-sig", errors="surrogateescape")  # as the names of files are read
    lines = [posixpath.normpath(line.strip().replace("\\", "/")) for line in text.splitlines() if line.strip()]
    if not lines:
        raise DataError(f"{path}: the list is empty, expected the name of an image on every line.")
    return list(dict.fromkeys(map(one_spelling, lines)))


def _median_size(root: Path, bands: Bands) -> tuple[int, int]:
    """Of the images to train on, or of a thousand from first to last where there are more."""
    folder, _ = _folders(root, "train", _lists(root))
    paths = list(image_files(folder))
    sizes = []
    for path in paths[:: -(-len(paths) // _MEASURED) or 1]:
        with suppress(DataError):  # a check names it; the description of all others needs only those that are whole
            sizes.append(tile_size(path, bands) or upright_size(path))
    if not sizes:
        raise DataError(f"{folder}: no readable image there, expected files ending in {', '.join(IMAGE_SUFFIXES)}.")
    return base_of(sizes)


def _size(classes: ClassList, key: str) -> tuple[int, int] | None:
    size = classes.options.get(key)
    return None if size is None else (size[0], size[1])


def _bare(end: str) -> str:
    stem, suffix = os.path.splitext(end)
    return stem if suffix.lower() in IMAGE_SUFFIXES else end
