"""A user's own images and masks.

    ROOT/
        classes.txt           or classes.yaml: the classes, see fakd.data.class_list
        images/               .jpg, .png, .bmp, .webp or .tif, in any subfolders
            street/0001.jpg
        masks/                the mask of an image lies at the same place, with the same name;
            street/0001.png   .png, .bmp or .tif, with class indices or colours
        val.txt               what images validate, one name a line, as street/0001
        train.txt             what images are trained on; without it, all the rest

Images and masks may end differently, as street/0001_photo.jpg and street/0001_gt.png; the endings are found, or said in
classes.yaml. Instead of val.txt, splits may be folders, inside images/ and masks/ or outside:

    ROOT/images/train  ROOT/masks/train  ROOT/images/val  ROOT/masks/val
    ROOT/train/images  ROOT/train/masks  ROOT/val/images  ROOT/val/masks

The rule is: lists come first (in ROOT or ROOT/splits), then the folders of the split; what is left of images/ is for
training. "test" works as "val" does. No split is ever drawn by chance: without a list or a folder there is none.
"""

from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

from fakd.data.class_list import ClassList, read_class_list
from fakd.data.name_ends import find_ends
from fakd.data.pairing import IMAGE_SUFFIXES, Pairs, Problem, image_files, name_below, normalized, pair_folders
from fakd.data.pairs import PairedFiles
from fakd.data.reading import upright_size
from fakd.data.spec import DataError, DatasetSpec
from fakd.data.user_masks import UserMasks

FOLDER = "folder"
"""The name of this data set in configurations."""

_HELD_OUT = ("val", "test")
_LARGEST_SIDE = 2048
_LARGEST_CROP = 512
_CROP_STEP = 8  # the stride of the networks' maps


def describe_folder(root: Path | None) -> DatasetSpec:
    """Read the description of a user's folder.

    Images are fitted into the size of the first readable image, scaled down where a side is longer than 2048 pixels,
    unless classes.yaml says otherwise; crops are squares of its shorter side, of 512 pixels at most.

    Raises:
        DataError: There is no such folder, no image in it, or no list of classes that makes sense.
    """
    if root is None:
        raise DataError(f"{FOLDER} needs the path of its files, but no root was given. Give the folder that holds them.")
    root = Path(root).expanduser()
    if not root.is_dir():
        raise DataError(f"{root}: no such folder, expected one with images/, masks/ and classes.txt. Check the path.")
    classes = read_class_list(root)
    base = _size(classes, "base_size") or _first_size(root)
    crop = max(_CROP_STEP, min(_LARGEST_CROP, *base) // _CROP_STEP * _CROP_STEP)
    return DatasetSpec(
        name=FOLDER,
        classes=tuple(item.name for item in classes.classes),
        palette=classes.palette,
        base_size=base,
        crop_size=_size(classes, "crop_size") or (crop, crop),
        open=partial(_open, classes, root),
    )


def _open(classes: ClassList, described: Path, root: Path | None, split: str) -> PairedFiles:
    root = described if root is None else Path(root).expanduser()
    return PairedFiles(root, _pairs(classes, root, split), classes.table, read=UserMasks(classes))


def _pairs(classes: ClassList, root: Path, split: str) -> Pairs:
    lists = {path.stem: path for path in _lists(root)}
    if split in lists or (lists and split == "train"):
        pairs = _pair(classes, root / "images", root / "masks")
        return _listed_pairs(pairs, root / "images", lists, split)
    images, masks = _split_folders(root, split)
    return _pair(classes, images, masks)
