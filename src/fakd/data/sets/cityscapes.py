"""Cityscapes with its fine annotations: 2,975 and 500 street scenes of 2048x1024 pixels, 19 classes."""

from pathlib import Path

from fakd.data.layout import locate_root, require_split
from fakd.data.paired_files import PairedFiles, label_table, pair_folders
from fakd.data.pairing import image_files
from fakd.data.spec import DatasetSpec, Source
from fakd.types import IGNORE_INDEX

# id among the 34 in the label files, and colour, from helpers/labels.py of the authors' cityscapesScripts.
# fmt: off
_CLASSES: dict[str, tuple[int, tuple[int, int, int]]] = {
    "road": (7, (128, 64, 128)), "sidewalk": (8, (244, 35, 232)), "building": (11, (70, 70, 70)),
    "wall": (12, (102, 102, 156)), "fence": (13, (190, 153, 153)), "pole": (17, (153, 153, 153)),
    "traffic light": (19, (250, 170, 30)), "traffic sign": (20, (220, 220, 0)), "vegetation": (21, (107, 142, 35)),
    "terrain": (22, (152, 251, 152)), "sky": (23, (70, 130, 180)), "person": (24, (220, 20, 60)),
    "rider": (25, (255, 0, 0)), "car": (26, (0, 0, 142)), "truck": (27, (0, 0, 70)), "bus": (28, (0, 60, 100)),
    "train": (31, (0, 80, 100)), "motorcycle": (32, (0, 0, 230)), "bicycle": (33, (119, 11, 32)),
}
# fmt: on

_NUM_IDS = 34
_MINUS_ONE = 255  # how eight bits hold the id -1

TRAIN_ID_OF_ID: dict[int, int] = dict.fromkeys((*range(_NUM_IDS), _MINUS_ONE), IGNORE_INDEX) | {
    number: index for index, (number, _) in enumerate(_CLASSES.values())
}
"""The class index of every value in *_labelIds.png, 255 = ignore; it is what *_labelTrainIds.png holds."""

IDS, TRAIN_IDS = "_gtFine_labelIds", "_gtFine_labelTrainIds"
"""What the names of both kinds of label files end in, before ".png"."""

_TABLES = {TRAIN_IDS: label_table({index: index for index in range(len(_CLASSES))}), IDS: label_table(TRAIN_ID_OF_ID)}
_ADVICE = (
    "Unpack leftImg8bit_trainvaltest.zip and gtFine_trainvaltest.zip of https://www.cityscapes-dataset.com, "
    "which asks for an account, into one folder, and give that folder."
)


def open_cityscapes(root: Path | None, split: str) -> Source:
    """Open the images of a split with their train ids where every image has them, else with the 34 ids.

    Args:
        root: The folder that holds leftImg8bit/ and gtFine/, or the one above if it is called "cityscapes".
        split: "train" or "val"; "test" opens too, but its published labels are blank.

    Raises:
        DataError: The root or a folder is missing, or images and masks do not match.
    """
    require_split("cityscapes", split, ("train", "val", "test"))
    folders = (f"leftImg8bit/{split}", f"gtFine/{split}")
    root = locate_root("cityscapes", root, folders, ("cityscapes", "Cityscapes", "cityscape"), _ADVICE)
    images, masks = (root / folder for folder in folders)
    there = [end for end in _TABLES if any(path.stem.endswith(end) for path in image_files(masks))]
    # One kind for the whole split, so that a half-done conversion is no half-read data set.
    choices = [(pair_folders(images, masks, "_leftImg8bit", end), _TABLES[end]) for end in there or [IDS]]
    pairs, table = max(choices, key=lambda choice: len(choice[0]))
    return PairedFiles(root, pairs, table)


CITYSCAPES = DatasetSpec(
    name="cityscapes",
    classes=tuple(_CLASSES),
    palette=tuple(colour for _, colour in _CLASSES.values()),
    base_size=(1024, 2048),
    crop_size=(512, 512),
    open=open_cityscapes,
    counts={"train": 2975, "val": 500},
    notice=(
        "Cityscapes (Cordts et al.) is for non-commercial purposes such as research and teaching, under the "
        "terms that its account holders accept; cite its authors and do not redistribute it."
    ),
)
