"""Exports that are masks already: Pascal VOC as CVAT writes it, and Roboflow's semantic masks.

labelmap.txt                    # label:color_rgb:parts:actions, then road:128,64,128::
JPEGImages/0001.jpg
SegmentationClass/0001.png      the colours of labelmap.txt
ImageSets/Segmentation/train.txt

train/_classes.csv              Pixel Value, Class
train/0001.jpg
train/0001_mask.png             the values of _classes.csv
valid/...
"""

from dataclasses import replace
from pathlib import Path

from fakd.data.importing.annotations import Annotated, Annotations, ImageIndex, noting, split_in
from fakd.data.paired_files import PairedFiles, label_table
from fakd.data.pairing import IMAGE_SUFFIXES
from fakd.data.plain_yaml import read_short_text
from fakd.data.spec import DataError
from fakd.data.user.class_rules import Options, class_list
from fakd.data.user.class_text import read_entries, refuse
from fakd.data.user.masks import UserMasks

_BORDER = (224, 224, 192)
"""The colour around objects in masks of Pascal VOC, which counts for nothing."""
_END = "_mask"


def read_voc(source: Path) -> Annotations:
    """Read the folder that holds labelmap.txt.

    Raises:
        DataError: There is none, or a line of it is not understood.
    """
    path = source / "labelmap.txt"
    if not path.is_file():
        raise DataError(
            f"{source}: no labelmap.txt there, expected one beside JPEGImages/ and SegmentationClass/, as CVAT exports "
            "it. Give the folder that holds them; the benchmark VOC 2012 is --dataset voc2012."
        )
    classes = class_list(read_entries(path), Options(path, {"masks": "color"}))
    if bare := [item.name for item in classes.classes if not item.colours]:
        refuse(path, f"{bare[0]} has no colour, expected NAME:RED,GREEN,BLUE:: on every line, as CVAT writes it")
    found = Annotations({item.name: item.colours[0] for item in classes.classes})
    ignored = () if _BORDER in found.classes.values() else (_BORDER,)
    read = UserMasks(replace(classes, ignored_colours=ignored))
    table = label_table({place: place for place in range(len(found.classes))})
    index, masks_dir = ImageIndex(source / "JPEGImages"), source / "SegmentationClass"
    for name, split in _voc_names(source, masks_dir).items():
        mask = masks_dir / f"{name}.png"
        with noting(found.faults, str(mask)):
            image = index.find(name, source / "JPEGImages", split)
            pair = PairedFiles(source, [(image, mask)], table, read)
            found.images.append(Annotated(image, index.name(image), split, mask, mask=pair))
    return found


def _voc_names(source: Path, masks_dir: Path) -> dict[str, str]:
    """The split of every image; of the lists, or of all masks where there is no list."""
    lists = sorted((source / "ImageSets" / "Segmentation").glob("*.txt"), key=lambda path: split_in([path.stem]))
    if not lists:
        return {path.relative_to(masks_dir).with_suffix("").as_posix(): "" for path in sorted(masks_dir.rglob("*.png"))}
    # those of no split first: a name of trainval.txt is in train.txt too
    return {
        name: split_in([path.stem])
        for path in lists
        for name in filter(None, map(str.strip, read_short_text(path).splitlines()))
    }


def read_roboflow(source: Path) -> Annotations:
    """Read every folder with a _classes.csv below a folder.

    Raises:
        DataError: There is none, or a line of one is not understood.
    """
    lists = sorted(source.rglob("_classes.csv"))
    if not lists:
        raise DataError(
            f"{source}: no _classes.csv there, expected one in each of train/, valid/ and test/, as Roboflow exports "
            "Semantic Segmentation Masks."
        )
    found, index = Annotations(), ImageIndex(source)
    for path in lists:
        classes = class_list(read_entries(path), Options(path, {"masks": "index"}))
        found.classes |= {item.name: None for item in classes.classes}
        places = {name: place for place, name in enumerate(found.classes)}
        values = {item.values[0]: places[item.name] for item in classes.classes}
        table, read = label_table(values, size=max(values) + 1), UserMasks(classes)
        files = sorted(file for file in path.parent.iterdir() if file.suffix.lower() in IMAGE_SUFFIXES)
        masks = {file.stem.removesuffix(_END): file for file in files if file.stem.endswith(_END)}
        for image in [file for file in files if file not in masks.values()]:
            mask = masks.pop(image.stem, None)
            if mask is None:
                found.faults.append(f"{image}: no {image.stem}{_END}.png beside it. Export it again, or remove it.")
                continue
            pair = PairedFiles(source, [(image, mask)], table, read)
            found.images.append(Annotated(image, index.name(image), index.split(image), mask, mask=pair))
        found.faults += [f"{mask}: its image {name}.jpg is missing. Export it again." for name, mask in masks.items()]
    return found
