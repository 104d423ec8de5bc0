"""Supervisely's projects.

    meta.json                       the classes, with their colours
    DATASET/img/0001.jpg
    DATASET/ann/0001.jpg.json       {"size": {"height": 480, "width": 640}, "objects": [{"classTitle": "car",
                                    "geometryType": "polygon", "points": {"exterior": [[x, y], ...], "interior": []}}]}

Here, points are pixels, which belong to what they enclose: a rectangle from 2 to 6 covers five.
"""

import re
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageDraw

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
from fakd.data.importing.shapes import Bitmap, Geometry, png_pixels, polygon, rectangle
from fakd.data.pairing import listed
from fakd.data.spec import DataError
from fakd.data.user.masks import Colour

_LARGEST = 1 << 28  # bytes of one bitmap
_LARGEST_SIDE = 1 << 15


def read_supervisely(source: Path) -> Annotations:
    """Read the project whose meta.json is in a folder.

    Raises:
        DataError: There is none, or it is no project of Supervisely.
    """
    meta = source / "meta.json"
    if not meta.is_file():
        raise DataError(f"{source}: no meta.json there, expected the folder of a project of Supervisely.")
    entries = expected(meta, expected(meta, read_json(meta), dict, "it").get("classes"), list, "classes")
    classes = {
        expected(meta, expected(meta, entry, dict, "a class").get("title"), str, "title of a class"): _colour(entry)
        for entry in entries
    }
    found, index = Annotations(classes), ImageIndex(source)
    for path in sorted(source.rglob("ann/**/*.json")):
        data = expected(path, read_json(path), dict, "it")
        shapes: list[Shape] = []
        faults: list[str] = []
        for number, entry in enumerate(expected(path, data.get("objects"), list, "objects"), start=1):
            entry = expected(path, entry, dict, f"object {number}")
            title = expected(path, entry.get("classTitle"), str, f"classTitle of object {number}")
            with noting(faults, f"{path}: object {number} ({title})"):
                if title not in classes:
                    raise ValueError(f"its class is not in meta.json, expected one of {listed(list(classes), 20)}")
                shapes.append(Shape(title, f"object {number} ({title})", _geometry(entry)))
        with noting(found.faults, str(path)):
            image = index.find(path.stem, path.parent.parent / "img")
            given = expected(path, data.get("size", {}), dict, "size")
            size = size_of(given.get("height"), given.get("width"))
            found.images.append(Annotated(image, index.name(image), index.split(image), path, shapes, faults, size))
    if without := index.others(found):
        found.notes.append(f"{without} images have no file in ann/, and are not imported")
    return found


def _colour(entry: Mapping[str, Any]) -> Colour | None:
    given = entry.get("color")
    if not isinstance(given, str) or not re.fullmatch("#[0-9a-fA-F]{6}", given):
        return None
    red, green, blue = bytes.fromhex(given[1:])
    return red, green, blue


def _geometry(entry: Mapping[str, Any]) -> Geometry:
    match entry:
        case {"geometryType": "polygon", "points": {"exterior": exterior, **rest}}:
            return _filled(exterior, rest.get("interior") or [])
        case {"geometryType": "rectangle", "points": {"exterior": exterior}}:
            left, top, right, bottom = rectangle(exterior).box
            return rectangle([[left, top], [right + 1, bottom + 1]])
        case {"geometryType": "bitmap", "bitmap": {"data": packed, "origin": [int() as left, int() as top]}}:
            return Bitmap(png_pixels(packed, _unpacked), left, top)
    raise ValueError(
        f"it is of type {entry.get('geometryType')}, or incomplete; expected a polygon, a rectangle or a bitmap"
    )


def _filled(exterior: Any, interior: Any) -> Bitmap:
    """An outline with its own pixels, less what its holes' outlines cover."""
    outer = polygon(exterior)
    holes = [polygon(hole).outlines[0] for hole in interior]
    left, top, right, bottom = (round(side) for side in outer.box)
    if max(right - left, bottom - top) > _LARGEST_SIDE:
        raise ValueError(f"it reaches from {left}, {top} to {right}, {bottom}, which is no image")
    canvas = Image.new("1", (right - left + 1, bottom - top + 1))
    draw = ImageDraw.Draw(canvas)
    for value, corners in [(1, outer.outlines[0]), *((0, hole) for hole in holes)]:
        points = [(x - left, y - top) for x, y in corners.round().astype(int).tolist()]
        draw.polygon(points, fill=value, outline=value)
    return Bitmap(np.asarray(canvas), left, top)


def _unpacked(packed: bytes) -> bytes:
    return zlib.decompressobj().decompress(packed, _LARGEST)
