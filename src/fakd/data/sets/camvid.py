"""CamVid in the SegNet release: 367 training and 101 validation frames of 480x360 pixels, 11 classes."""

from pathlib import Path

from fakd.data.layout import require_split
from fakd.data.paired_files import PairedFiles, label_table, pair_folders, require_folders
from fakd.data.spec import DatasetSpec, Source
from fakd.types import IGNORE_INDEX

# fmt: off
_CLASSES: dict[str, tuple[int, int, int]] = {
    "sky": (128, 128, 128), "building": (128, 0, 0), "pole": (192, 192, 128), "road": (128, 64, 128),
    "pavement": (60, 40, 222), "tree": (128, 128, 0), "sign symbol": (192, 128, 128), "fence": (64, 64, 128),
    "car": (64, 0, 128), "pedestrian": (64, 64, 0), "bicyclist": (0, 128, 192),
}
# fmt: on

_VOID = len(_CLASSES)
_TABLE = label_table({index: index for index in range(_VOID)} | {_VOID: IGNORE_INDEX})


def open_camvid(root: Path | None, split: str) -> Source:
    """Open `root/<split>` with the masks of `root/<split>annot`; the splits are train, val and test.

    Raises:
        DataError: The root or a folder is missing, or images and masks do not match.
    """
    require_split("camvid", split, ("train", "val", "test"))
    root = require_folders("camvid", root, (split, f"{split}annot"))
    return PairedFiles(root, pair_folders(root / split, root / f"{split}annot"), _TABLE)


CAMVID = DatasetSpec(
    name="camvid",
    classes=tuple(_CLASSES),
    palette=tuple(_CLASSES.values()),
    base_size=(360, 480),
    crop_size=(360, 360),
    open=open_camvid,
    counts={"train": 367, "val": 101},
    notice=(
        "CamVid (Brostow et al., University of Cambridge; labels of the SegNet release) is for research "
        "use; cite its authors and do not redistribute it."
    ),
)
