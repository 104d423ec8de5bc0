"""Pascal VOC 2012 with the masks of the Semantic Boundaries Dataset: 10,582 and 1,449 images, 21 classes."""

from pathlib import Path

from fakd.data.layout import files_by_name, locate_root, pair_listed, read_names, require_split
from fakd.data.paired_files import PairedFiles, label_table
from fakd.data.spec import DataError, DatasetSpec, Source

# Names and colours of the challenge's development kit.
# fmt: off
_CLASSES: dict[str, tuple[int, int, int]] = {
    "background": (0, 0, 0), "aeroplane": (128, 0, 0), "bicycle": (0, 128, 0), "bird": (128, 128, 0),
    "boat": (0, 0, 128), "bottle": (128, 0, 128), "bus": (0, 128, 128), "car": (128, 128, 128), "cat": (64, 0, 0),
    "chair": (192, 0, 0), "cow": (64, 128, 0), "diningtable": (192, 128, 0), "dog": (64, 0, 128),
    "horse": (192, 0, 128), "motorbike": (64, 128, 128), "person": (192, 128, 128), "pottedplant": (0, 64, 0),
    "sheep": (128, 64, 0), "sofa": (0, 192, 0), "train": (128, 192, 0), "tvmonitor": (0, 64, 128),
}
# fmt: on

_TABLE = label_table({index: index for index in range(len(_CLASSES))})  # 255, the border of objects, is ignored
_LISTS = {"train": "trainaug", "val": "val"}
_ADVICE = (
    "Give the folder VOC2012, or VOCdevkit, or the one that holds it; "
    "`fakd data prepare voc2012 ROOT` fetches it into ROOT."
)


def open_voc2012(root: Path | None, split: str) -> Source:
    """Open the images that ImageSets/Segmentation names: trainaug.txt for "train", val.txt for "val".

    A mask of the challenge itself (SegmentationClass) comes before one of SegmentationClassAug: there, some
    conversions put for the challenge's own images the coarser masks of SBD, which have no border.

    Args:
        root: The folder VOC2012, VOCdevkit, or the one that holds that.

    Raises:
        DataError: The root, a folder or a list is missing, or a listed image has no file or no mask.
    """
    require_split("voc2012", split, _LISTS)
    folders = ("JPEGImages", "ImageSets/Segmentation")
    root = locate_root("voc2012", root, folders, ("VOC2012", "VOCdevkit/VOC2012"), _ADVICE)
    names_path = root / "ImageSets" / "Segmentation" / f"{_LISTS[split]}.txt"
    if split == "train":
        _require_augmented(root, names_path)
    masks = {
        name: path
        for folder in ("SegmentationClassAug", "SegmentationClass")
        for name, path in files_by_name(root / folder, (".png",)).items()
    }
    at = "SegmentationClass/ or SegmentationClassAug/"
    pairs = pair_listed(names_path, read_names(names_path), root / "JPEGImages", masks, at)
    return PairedFiles(root, pairs, _TABLE)


def _require_augmented(root: Path, names_path: Path) -> None:
    needed = (names_path.relative_to(root).as_posix(), "SegmentationClassAug/")
    if missing := [name for name in needed if not (root / name).exists()]:
        raise DataError(
            f"{root}: {' and '.join(missing)} missing. Training is on the 10,582 images that VOC 2012 and the "
            "Semantic Boundaries Dataset have together (VOC's own train.txt names only 1,464); "
            f"`fakd data prepare voc2012 {root}` makes both."
        )


VOC2012 = DatasetSpec(
    name="voc2012",
    classes=tuple(_CLASSES),
    palette=tuple(_CLASSES.values()),
    base_size=(512, 2048),
    crop_size=(512, 512),
    open=open_voc2012,
    counts={"train": 10582, "val": 1449},
    notice=(
        "Pascal VOC 2012 (Everingham et al.) and SBD (Hariharan et al.): the photos come from Flickr and are "
        "under its terms of use; cite the authors of both."
    ),
)
