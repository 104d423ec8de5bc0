"""YOLO's text, one file for each image, as Ultralytics, Roboflow and CVAT write it for segmentation.

    data.yaml                   names: [car, road], and perhaps train:, val:, test:
    images/train/0001.jpg       or train/images/0001.jpg
    labels/train/0001.txt       one shape a line: the number of its class, then x and y of every corner, as shares of
                                the image's width and height

An image without such a file has no shapes.
"""

from collections.abc import Iterator, Mapping
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np

from fakd.data.importing.annotations import Annotated, Annotations, ImageIndex, Shape, noting
from fakd.data.importing.shapes import polygon
from fakd.data.pairing import image_files, listed
from fakd.data.plain_yaml import read_short_text, read_yaml
from fakd.data.reading import upright_size
from fakd.data.spec import DataError

_SPLITS = ("train", "val", "test")
_BOX = 5  # numbers of a line that is a box
_NO_LABELS = ("classes.txt", "labels.txt", "obj.names")


def read_yolo(source: Path) -> Annotations:
    """Read the folder that holds data.yaml.

    Raises:
        DataError: There is no file of names, or it makes no sense.
    """
    given = {path: read_yaml(path) for path in sorted([*source.glob("*.yaml"), *source.glob("*.yml")])}
    given = {path: data for path, data in given.items() if isinstance(data, dict) and "names" in data}
    if len(given) != 1:
        raise DataError(
            f"{source}: {listed(list(given)) or 'no data.yaml'} there, expected one YAML file with the `names` of the "
            "classes. Give the folder that holds it."
        )
    ((path, data),) = given.items()
    names = _names(path, data["names"])
    index = ImageIndex(source)
    found = Annotations(dict.fromkeys(names.values()))
    splits = dict(_splits(path, data))
    labels = {file for file in source.rglob("labels/**/*.txt") if file.name not in _NO_LABELS}
    for image in image_files(source):
        file = source / _label_file(image.relative_to(source))
        labels.discard(file)
        shapes: list[Shape] = []
        faults: list[str] = []
        if file.is_file():
            with noting(faults, str(file)):
                height, width = upright_size(image)
                for number, line in enumerate(read_short_text(file).splitlines(), start=1):
                    if line.strip():
                        with noting(faults, f"{file}: line {number}"):
                            shapes.append(_shape(line, number, names, (width, height)))
        split = splits.get(image.resolve()) or index.split(image)
        found.images.append(Annotated(image, index.name(image), split, file, shapes, faults))
    found.faults += [
        f"{file}: its image is missing, expected {file.stem}.jpg or the like in images/. Add it, or delete the file."
        for file in sorted(labels)
    ]
    without = sum(not image.file.is_file() for image in found.images)
    if found.images and without == len(found.images):
        raise DataError(f"{source}: none of its {without} images has a file of labels, expected labels/NAME.txt each.")
    if without:
        found.notes.append(f"{without} images have no file of labels: nothing is on them")
    return found


def _names(path: Path, given: Any) -> dict[int, str]:
    names = dict(enumerate(given)) if isinstance(given, list) else given
    if not isinstance(names, dict) or not names or not all(isinstance(key, int) for key in names):
        raise DataError(f"{path}: names is {given!r}, expected a list, or a name for every number.")
    return {key: str(names[key]) for key in sorted(names)}


def _splits(path: Path, data: Mapping[str, Any]) -> Iterator[tuple[Path, str]]:
    """The split of every image that data.yaml names by a folder or a list; folders' names say it for all others."""
    for split in _SPLITS:
        entries = data.get(split) or []
        for entry in entries if isinstance(entries, list) else [entries]:
            # Roboflow writes ../train/images where it is train/images
            plain = str(entry).lstrip("./")
            places = (path.parent / str(data.get("path") or "") / str(entry), path.parent / str(entry))
            place = next((place for place in (*places, path.parent / plain) if place.exists()), None)
            if place is None:
                continue
            if place.is_dir():
                yield from ((image.resolve(), split) for image in image_files(place))
                continue
            for line in filter(None, map(str.strip, read_short_text(place).splitlines())):
                listed_path = PurePosixPath(line.replace("\\", "/"))
                for end in range(len(listed_path.parts)):  # data/images/train/1.jpg, where it is images/train/1.jpg
                    if (image := path.parent.joinpath(*listed_path.parts[end:])).is_file():
                        yield image.resolve(), split
                        break


def _label_file(image: Path) -> Path:
    """labels/ in place of the last images/ of the path; or beside the image."""
    parts = list(image.parts)
    for place in range(len(parts) - 2, -1, -1):
        if parts[place] == "images":
            parts[place] = "labels"
            return Path(*parts).with_suffix(".txt")
    return image.with_suffix(".txt")


def _shape(line: str, number: int, names: Mapping[int, str], size: tuple[int, int]) -> Shape:
    words = line.split()
    try:
        label, numbers = int(float(words[0])), np.array(words[1:], dtype=np.float64)
    except (ValueError, OverflowError):
        raise ValueError(f"{line[:60]!r} is no row of numbers") from None
    if label not in names:
        raise ValueError(f"class {label} has no name in data.yaml, which names {listed(list(names), 20)}")
    if len(words) == _BOX:
        raise ValueError("a box, which does not say which pixels are meant; expected the corners of an outline")
    if len(numbers) % 2:
        raise ValueError(f"{len(numbers)} numbers behind the class, expected pairs of x and y")
    return Shape(names[label], f"line {number} ({names[label]})", polygon(numbers.reshape(-1, 2) * size))
