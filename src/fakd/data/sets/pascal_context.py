"""Pascal Context: VOC 2010's 4,998 and 5,105 images with every pixel labelled, of which 59 classes are used."""

from pathlib import Path

from fakd.data.layout import files_by_name, locate_root, pair_listed, read_names, require_split
from fakd.data.matlab import read_context_mat
from fakd.data.paired_files import PairedFiles, label_table
from fakd.data.reading import read_mask
from fakd.data.sets.ade20k import ADE20K
from fakd.data.spec import SPLITS, DataError, DatasetSpec, SlidingWindow, Source
from fakd.types import IGNORE_INDEX

# The 59 frequent ones among the 459 labels, with their numbers there, as in the authors' labels.txt; in the order
# of these numbers, as in MMSegmentation. The authors' 59_labels.txt has the same classes in another order.
# fmt: off
_CLASSES: dict[str, int] = {
    "aeroplane": 2, "bag": 9, "bed": 18, "bedclothes": 19, "bench": 22, "bicycle": 23, "bird": 25, "boat": 31,
    "book": 33, "bottle": 34, "building": 44, "bus": 45, "cabinet": 46, "car": 59, "cat": 65, "ceiling": 68,
    "chair": 72, "cloth": 80, "computer": 85, "cow": 98, "cup": 104, "curtain": 105, "dog": 113, "door": 115,
    "fence": 144, "floor": 158, "flower": 159, "food": 162, "grass": 187, "ground": 189, "horse": 207, "keyboard": 220,
    "light": 232, "motorbike": 258, "mountain": 259, "mouse": 260, "person": 284, "plate": 295, "platform": 296,
    "pottedplant": 308, "road": 324, "rock": 326, "sheep": 347, "shelves": 349, "sidewalk": 354, "sign": 355,
    "sky": 360, "snow": 366, "sofa": 368, "table": 397, "track": 415, "train": 416, "tree": 420, "truck": 424,
    "tvmonitor": 427, "wall": 440, "water": 445, "window": 454, "wood": 458,
}
# fmt: on

_NUM_LABELS = 459

CLASS_OF_LABEL: dict[int, int] = dict.fromkeys(range(_NUM_LABELS + 1), IGNORE_INDEX) | {
    label: index for index, label in enumerate(_CLASSES.values())
}
"""The class index of every number in the label maps, 0 to 459; 255 = ignore. The PNGs hold index + 1, else 0."""

LISTS, PNGS, MATS = "ImageSets/SegmentationContext", "SegmentationClassContext", "trainval"
"""Where the lists, the PNG masks and the published label maps lie."""

_PNG_TABLE = label_table({0: IGNORE_INDEX} | {index + 1: index for index in range(len(_CLASSES))})
_MAT_TABLE = label_table(CLASS_OF_LABEL, size=_NUM_LABELS + 1)
_ADVICE = (
    "Give the folder VOC2010, or VOCdevkit, or the one that holds it; "
    "`fakd data prepare pascal-context ROOT` fetches it into ROOT."
)


def open_pascal_context(root: Path | None, split: str) -> Source:
    """Open the images of a split with PNG masks, or with the published label maps if more images have these.

    Args:
        root: The folder VOC2010, VOCdevkit, or the one that holds that.

    Raises:
        DataError: The root, a folder or a list is missing, or a listed image has no file or no mask.
    """
    require_split("pascal-context", split, SPLITS)
    within = ("VOC2010", "VOCdevkit/VOC2010")
    root = locate_root("pascal-context", root, ("JPEGImages", "ImageSets"), within, _ADVICE)
    names_path = root / LISTS / f"{split}.txt"
    if not names_path.is_file():  # VOC's own lists have the same images: all of VOC 2010 is labelled
        names_path = root / "ImageSets" / "Main" / f"{split}.txt"
    names = read_names(names_path)
    kinds = [
        (f"{PNGS}/", files_by_name(root / PNGS, (".png",)), _PNG_TABLE, read_mask),
        (f"{MATS}/", files_by_name(root / MATS, (".mat",)), _MAT_TABLE, read_context_mat),
    ]
    # One kind for the whole split, so that a half-done conversion is no half-read data set.
    at, masks, table, read = max(kinds, key=lambda kind: len(kind[1].keys() & names))
    if not masks.keys() & names:
        raise DataError(
            f"{root}: no mask for any of the {len(names)} images in {names_path}, expected PNG files in {PNGS}/ or "
            f"the published .mat files in {MATS}/. {_ADVICE}"
        )
    return PairedFiles(root, pair_listed(names_path, names, root / "JPEGImages", masks, at), table, read)


PASCAL_CONTEXT = DatasetSpec(
    name="pascal-context",
    classes=tuple(_CLASSES),
    palette=ADE20K.palette[1 : len(_CLASSES) + 1],  # the authors publish none; these are MMSegmentation's
    base_size=(520, 520),
    crop_size=(512, 512),
    open=open_pascal_context,
    counts={"train": 4998, "val": 5105},
    learning_rate=0.004,
    window=SlidingWindow((480, 480), (320, 320)),
    notice=(
        "Pascal Context (Mottaghi et al.) labels photos of Pascal VOC 2010, which come from Flickr and are under "
        "its terms of use; cite the authors of both."
    ),
)
