"""COCO's JSON: `instances_train2017.json`, what Roboflow calls `_annotations.coco.json`, what CVAT exports as COCO.

    {"categories": [{"id": 3, "name": "car"}, ...],
     "images": [{"id": 7, "file_name": "0001.jpg", "width": 640, "height": 480}, ...],
     "annotations": [{"id": 1, "image_id": 7, "category_id": 3, "segmentation": [[x, y, x, y, ...], ...]}, ...]}

A segmentation is polygons, or {"size": [height, width], "counts": run lengths}. Crowds are of their class as all else.
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence
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
    split_in,
    words_of,
)
from fakd.data.importing.shapes import Geometry, Polygons, RunLengths, polygon
from fakd.data.pairing import listed
from fakd.data.spec import DataError

_KEYS = ("categories", "images", "annotations")


def read_coco(source: Path) -> Annotations:
    """Read every file of instances below a folder, or one file.

    Raises:
        DataError: There is none, or it is no COCO file.
    """
    if source.is_file():
        files = {source: read_json(source)}
        source = source.parent.parent if source.parent.name == "annotations" else source.parent
    else:
        # beside instances_*.json COCO has keypoints and captions of the same images
        paths = sorted(source.rglob("instances_*.json")) or sorted(source.rglob("*.json"))
        files = {path: read_json(path) for path in paths}
    parts = {path: data for path, data in files.items() if isinstance(data, dict) and all(key in data for key in _KEYS)}
    if not parts:
        raise DataError(
            f"{source}: no COCO annotations there, expected a JSON file with {', '.join(_KEYS)}"
            f"{f'; there is {listed(list(files))}' if files else ''}. Give the folder that holds it and the images."
        )
    found, index = Annotations(), ImageIndex(source)
    for path, data in parts.items():
        _read(path, data, index, found)
    return found


def _read(path: Path, data: Mapping[str, Any], index: ImageIndex, found: Annotations) -> None:
    names = _categories(path, data)
    found.classes |= {name: found.classes.get(name) for name in names.values()}
    by_image: dict[str, list[Mapping[str, Any]]] = defaultdict(list)  # ids are numbers, or words
    for entry in expected(path, data["annotations"], list, "annotations"):
        by_image[str(expected(path, entry, dict, "an annotation").get("image_id"))].append(entry)
    split = split_in(words_of(path.relative_to(index.source)))
    for entry in expected(path, data["images"], list, "images"):
        entry = expected(path, entry, dict, "an image")
        called = expected(path, entry.get("file_name"), str, "file_name of an image")
        drawn = by_image.pop(str(entry.get("id")), [])
        with noting(found.faults, str(path)):
            image = index.find(called, path.parent, split)
            shapes, faults = _shapes(path, called, drawn, names)
            size = size_of(entry.get("height"), entry.get("width"))
            # a file for all splits says nothing, but its images' folders may
            part = split or index.split(image)
            found.images.append(Annotated(image, index.name(image), part, path, shapes, faults, size))
    for identity, entries in by_image.items():
        found.faults.append(
            f"{path}: {len(entries)} annotations of image_id {identity}, which is none of its images "
            f"(annotation {listed([entry.get('id') for entry in entries])}). Export it again."
        )


def _categories(path: Path, data: Mapping[str, Any]) -> dict[int, str]:
    """Their names by id, ascending; without one that only stands for a group of others, as Roboflow's first does."""
    entries = [
        expected(path, entry, dict, "a category") for entry in expected(path, data["categories"], list, _KEYS[0])
    ]
    used = {str(entry.get("category_id")) for entry in data["annotations"] if isinstance(entry, dict)}
    groups = {str(entry.get("supercategory")) for entry in entries if entry.get("name") != entry.get("supercategory")}
    names = {
        expected(path, entry.get("id"), int, "id of a category"): expected(path, entry.get("name"), str, "its name")
        for entry in entries
    }
    return {key: names[key] for key in sorted(names) if str(key) in used or names[key] not in groups}


def _shapes(
    path: Path, called: str, entries: Sequence[Mapping[str, Any]], names: Mapping[int, str]
) -> tuple[list[Shape], list[str]]:
    shapes: list[Shape] = []
    faults: list[str] = []
    for entry in entries:
        what, category = f"annotation {entry.get('id')} of {called}", entry.get("category_id")
        with noting(faults, f"{path}: {what}"):
            if not isinstance(category, int) or category not in names:
                raise ValueError(f"its category_id {category} is none of the categories, {listed(list(names), 20)}")
            shapes.append(Shape(names[category], what, _geometry(entry.get("segmentation"))))
    return shapes, faults


def _geometry(given: Any) -> Geometry:
    match given:
        case {"counts": str() | list() as counts, "size": [int() as height, int() as width]}:
            return RunLengths(counts, (height, width))
        case [list(), *_]:
            return Polygons([outline for line in given for outline in polygon(line).outlines])
    raise ValueError(
        "it has no outline, expected its `segmentation` as polygons or run lengths; boxes alone do not say which "
        "pixels are meant"
    )
