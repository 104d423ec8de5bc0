"""LabelMe's JSON, one file beside each image.

    {"imagePath": "0001.jpg", "imageHeight": 480, "imageWidth": 640,
     "shapes": [{"label": "car", "shape_type": "polygon", "points": [[x, y], ...]}, ...]}

Classes are those of labels.txt, in its order, where there is one, else all labels by the alphabet. A shape labelled
`__ignore__` says that its pixels count for nothing. Images without a file of their own are not imported.
"""

from pathlib import Path
from typing import Any

from fakd.data.importing.annotations import (
    Annotated,
    Annotations,
    ImageIndex,
    Shape,
    expected,
    noting,
    read_json,
    size_of,
)
from fakd.data.importing.shapes import Bitmap, Geometry, circle, png_pixels, polygon, rectangle
from fakd.data.pairing import listed
from fakd.data.plain_yaml import read_short_text
from fakd.data.spec import DataError

_IGNORED = "__ignore__"
_DRAWN = {"polygon": polygon, "rectangle": rectangle, "circle": circle}


def read_labelme(source: Path) -> Annotations:
    """Read all files below a folder.

    Raises:
        DataError: There is none, or one is no file of LabelMe.
    """
    files = {path: read_json(path) for path in sorted(source.rglob("*.json"))}
    files = {path: data for path, data in files.items() if isinstance(data, dict) and "shapes" in data}
    if not files:
        raise DataError(f"{source}: no JSON files of LabelMe there, expected one for each image, with its `shapes`.")
    known = _labels(source)
    found, index = Annotations(dict.fromkeys(known)), ImageIndex(source)
    for path, data in files.items():
        shapes: list[Shape] = []
        faults: list[str] = []
        for number, entry in enumerate(expected(path, data["shapes"], list, "shapes"), start=1):
            entry = expected(path, entry, dict, f"shape {number}")
            label = expected(path, entry.get("label"), str, f"label of shape {number}").strip()
            with noting(faults, f"{path}: shape {number} ({label})"):
                if known and label not in (*known, _IGNORED):
                    raise ValueError(f"its label is not in labels.txt, expected one of {listed(known, 20)}")
                name = None if label == _IGNORED else label
                shapes.append(Shape(name, f"shape {number} ({label})", _geometry(entry)))
        with noting(found.faults, str(path)):
            called = expected(path, data.get("imagePath"), str, "imagePath")
            image = index.find(called, path.parent)
            size = size_of(data.get("imageHeight"), data.get("imageWidth"))
            found.images.append(Annotated(image, index.name(image), index.split(image), path, shapes, faults, size))
    if not known:
        names = {shape.name for image in found.images for shape in image.shapes if shape.name is not None}
        found.classes = dict.fromkeys(sorted(names))
    if without := index.others(found):
        found.notes.append(f"{without} images have no JSON file of their own, and are not imported")
    return found


def _labels(source: Path) -> list[str]:
    path = source / "labels.txt"
    lines = read_short_text(path).splitlines() if path.is_file() else []
    return [line.strip() for line in lines if line.strip() not in ("", _IGNORED)]


def _geometry(entry: dict[str, Any]) -> Geometry:
    kind, points = str(entry.get("shape_type") or "polygon"), entry.get("points")
    if kind == "mask":
        left, top, *_ = rectangle(points).box
        return Bitmap(png_pixels(entry.get("mask")), round(left), round(top))
    if kind not in _DRAWN:
        raise ValueError(f"it is a {kind}, which covers no pixels, expected a {', '.join([*_DRAWN, 'mask'])}")
    return _DRAWN[kind](points)
