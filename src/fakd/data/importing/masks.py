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

import csv
import re
from collections.abc import Iterator
from pathlib import Path

from fakd.data.importing.annotations import Annotated, Annotations, ImageIndex, noting, split_in
from fakd.data.paired_files import PairedFiles, label_table
from fakd.data.pairing import IMAGE_SUFFIXES
from fakd.data.plain_yaml import read_short_text
from fakd.data.spec import DataError
from fakd.data.user.masks import ClassList, UserClass, UserMasks

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
    classes = list(_label_map(path))
    found = Annotations({item.name: item.colours[0] for item in classes})
    ignored = () if _BORDER in found.classes.values() else (_BORDER,)
    read = UserMasks(ClassList(path, tuple(classes), ignored_colours=ignored, options={"masks": "color"}))
    table = label_table({place: place for place in range(len(classes))})
    index, masks_dir = ImageIndex(source / "JPEGImages"), source / "SegmentationClass"
    for name, split in _voc_names(source, masks_dir).items():
        mask = masks_dir / f"{name}.png"
        with noting(found.faults, str(mask)):
            image = index.find(name, source / "JPEGImages", split)
            pair = PairedFiles(source, [(image, mask)], table, read)
            found.images.append(Annotated(image, index.name(image), split, mask, mask=pair))
    return found


def _label_map(path: Path) -> Iterator[UserClass]:
    """The classes of a labelmap.txt, with their places for values."""
    place = 0
    for number, line in enumerate(read_short_text(path).splitlines(), start=1):
        if not line.strip() or line.startswith("#"):
            continue
        line_of = re.fullmatch(r"(?P<name>.+?):(?P<colour>\d+,\d+,\d+):[^:]*:[^:]*", line.strip())
        red, green, blue = map(int, line_of["colour"].split(",")) if line_of else (256, 256, 256)
        if line_of is None or max(red, green, blue) > 255:
            raise DataError(f"{path}: line {number} is {line!r}, expected NAME:RED,GREEN,BLUE:: as CVAT writes it.")
        yield UserClass(line_of["name"], (place,), ((red, green, blue),))
        place += 1


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
        classes = list(_csv(path))
        found.classes |= {item.name: None for item in classes}
        places = {name: place for place, name in enumerate(found.classes)}
        table = label_table(
            {item.values[0]: places[item.name] for item in classes}, size=max(item.values[0] for item in classes) + 1
        )
        read = UserMasks(ClassList(path, tuple(classes), options={"masks": "index"}))
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


def _csv(path: Path) -> Iterator[UserClass]:
    for number, row in enumerate(csv.reader(read_short_text(path).splitlines(), skipinitialspace=True), start=1):
        match row:
            case [value, name] if value.strip().isascii() and value.strip().isdigit():
                yield UserClass(name.strip(), (int(value),))
            case [] | ["Pixel Value", _]:
                pass
            case _:
                raise DataError(f"{path}: line {number} is {','.join(row)!r}, expected a pixel value and a class.")
