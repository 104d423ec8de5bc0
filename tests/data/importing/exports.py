"""The same scene as every tool exports it: two boxes that overlap, and a triangle over the edge of one."""

import base64
import json
import zlib
from collections.abc import Callable
from io import BytesIO
from pathlib import Path

import numpy as np
from folders import write_image, write_mask
from matplotlib.path import Path as Outline
from PIL import Image
from pycocotools import mask as runs

WIDTH, HEIGHT = 40, 30
CAR, ROAD = (5, 10, 15, 22), (0, 18, 40, 30)  # left, top, right, bottom; the road is the larger one, and drawn later
TREE = ((20, 2), (38, 5), (25, 25))
NAMES = ("car", "road", "tree")


def box(left: int, top: int, right: int, bottom: int) -> list[list[int]]:
    return [[left, top], [right, top], [right, bottom], [left, bottom]]


def covered(left: int, top: int, right: int, bottom: int) -> np.ndarray:
    mask = np.zeros((HEIGHT, WIDTH), dtype=bool)
    mask[top:bottom, left:right] = True
    return mask


def tree() -> np.ndarray:
    """The pixels whose middle is inside the triangle."""
    rows, columns = np.mgrid[:HEIGHT, :WIDTH] + 0.5
    inside = Outline(TREE).contains_points(np.stack([columns, rows], -1).reshape(-1, 2))
    return inside.reshape(HEIGHT, WIDTH)


def scene(*order: str, values: dict[str, int] | None = None) -> np.ndarray:
    """Labels with the shapes of these names laid one above the other; 0 is nothing, 1 to 3 are car, road and tree."""
    labels = np.zeros((HEIGHT, WIDTH), dtype=np.uint8)
    masks = {"car": covered(*CAR), "road": covered(*ROAD), "tree": tree()}
    for name in order:
        labels[masks[name]] = (values or {"car": 1, "road": 2, "tree": 3})[name]
    return labels


def write_json(path: Path, data: object) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(data), encoding="utf-8")
    return path


def image(path: Path) -> Path:
    return write_image(path, (WIDTH, HEIGHT))


def coco(source: Path, segmentation: Callable[[str], object] | None = None) -> Path:
    """As COCO is unpacked: annotations/instances_SPLIT2017.json beside SPLIT2017/."""
    shapes = {"car": box(*CAR), "road": box(*ROAD), "tree": TREE}
    for split in ("train", "val"):
        image(source / f"{split}2017" / "a.jpg")
        entries = [
            {
                "id": 100 + place,
                "image_id": 7,
                "category_id": 10 * (place + 1),
                "segmentation": segmentation(name) if segmentation else [np.ravel(shapes[name]).tolist()],
            }
            for place, name in enumerate(NAMES)
        ]
        write_json(
            source / "annotations" / f"instances_{split}2017.json",
            {
                "categories": [{"id": 10 * (place + 1), "name": name} for place, name in enumerate(NAMES)],
                "images": [{"id": 7, "file_name": "a.jpg", "width": WIDTH, "height": HEIGHT}],
                "annotations": entries,
            },
        )
    write_json(source / "annotations" / "captions_train2017.json", {"images": [], "annotations": []})
    return source


def packed_runs(name: str) -> dict:
    mask = {"car": covered(*CAR), "road": covered(*ROAD), "tree": tree()}[name]
    found = runs.encode(np.asfortranarray(mask.astype(np.uint8)))
    return {"size": found["size"], "counts": found["counts"].decode()}


def plain_runs(name: str) -> dict:
    flat = {"car": covered(*CAR), "road": covered(*ROAD), "tree": tree()}[name].T.flatten()
    changes = np.flatnonzero(np.diff(flat)) + 1
    counts = np.diff([0, *changes, len(flat)]).tolist()
    return {"size": [HEIGHT, WIDTH], "counts": counts if not flat[0] else [0, *counts]}


def labelme(source: Path) -> Path:
    """train/ and val/ with the JSON beside the image, whose path is one of Windows."""
    for split in ("train", "val"):
        image(source / split / "a.jpg")
        shapes = [
            {"label": "car", "shape_type": "rectangle", "points": [CAR[2:], CAR[:2]]},
            {"label": "road", "shape_type": "mask", "points": [ROAD[:2], [39, 29]], "mask": png(np.full((12, 40), 1))},
            {"label": "tree", "shape_type": "polygon", "points": TREE},
        ]
        data = {"imagePath": f"..\\{split}\\a.jpg", "imageHeight": HEIGHT, "imageWidth": WIDTH, "shapes": shapes}
        write_json(source / split / "a.json", data)
    return source


def png(pixels: np.ndarray) -> str:
    file = BytesIO()
    Image.fromarray((pixels * 255).astype(np.uint8)).save(file, "PNG")
    return base64.b64encode(file.getvalue()).decode()


def yolo(source: Path) -> Path:
    """As Ultralytics and Roboflow: shares of the width and the height."""
    for folder in ("train", "valid"):
        image(source / folder / "images" / "a.jpg")
        lines = [
            " ".join(map(str, [place, *(np.array(points) / (WIDTH, HEIGHT)).ravel()]))
            for place, points in enumerate((box(*CAR), box(*ROAD), TREE))
        ]
        path = source / folder / "labels" / "a.txt"
        path.parent.mkdir(parents=True)
        path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    (source / "data.yaml").write_text(
        "train: ../train/images\nval: ../valid/images\nnc: 3\nnames: [car, road, tree]\n", encoding="utf-8"
    )
    return source


def supervisely(source: Path) -> Path:
    """Two data sets of a project; its points are pixels, so that the last of a box is inside."""
    colours = {"car": "#00008E", "road": "#804080", "tree": "#6B8E23"}
    classes = [{"title": name, "shape": "any", "color": colour} for name, colour in colours.items()]
    write_json(source / "meta.json", {"classes": classes})
    left, top, right, bottom = CAR
    objects = [
        {
            "classTitle": "car",
            "geometryType": "rectangle",
            "points": {"exterior": [[left, top], [right - 1, bottom - 1]]},
        },
        {
            "classTitle": "road",
            "geometryType": "polygon",
            "points": {"exterior": box(0, 18, 39, 29), "interior": []},
        },
        {"classTitle": "tree", "geometryType": "bitmap", "bitmap": bitmap(tree())},
    ]
    for split in ("train", "val"):
        image(source / split / "img" / "a.jpg")
        data = {"size": {"height": HEIGHT, "width": WIDTH}, "objects": objects}
        write_json(source / split / "ann" / "a.jpg.json", data)
    return source


def bitmap(mask: np.ndarray) -> dict:
    rows, columns = np.nonzero(mask)
    top, left = rows.min(), columns.min()
    part = mask[top : rows.max() + 1, left : columns.max() + 1].astype(np.uint8)
    picture = Image.fromarray(part)
    picture.putpalette([0, 0, 0, 255, 255, 255])
    file = BytesIO()
    picture.save(file, "PNG", transparency=0)
    return {"data": base64.b64encode(zlib.compress(file.getvalue())).decode(), "origin": [int(left), int(top)]}


def voc(source: Path) -> Path:
    """As CVAT exports it; a border of Pascal VOC's colour counts for nothing."""
    (source / "ImageSets" / "Segmentation").mkdir(parents=True)
    (source / "labelmap.txt").write_text(
        "# label:color_rgb:parts:actions\nbackground:0,0,0::\ncar:0,0,142::\nroad:128,64,128::\ntree:107,142,35::\n",
        encoding="utf-8",
    )
    palette = np.array([(0, 0, 0), (0, 0, 142), (128, 64, 128), (107, 142, 35)], dtype=np.uint8)
    labels = scene("road", "tree", "car")
    for split in ("train", "val"):
        image(source / "JPEGImages" / split / "a.jpg")
        write_mask(source / "SegmentationClass" / split / "a.png", palette[labels])
        (source / "ImageSets" / "Segmentation" / f"{split}.txt").write_text(f"{split}/a\n", encoding="utf-8")
    return source


def roboflow(source: Path) -> Path:
    """Image and mask in one folder; the values leave gaps."""
    for folder in ("train", "valid"):
        image(source / folder / "a.jpg")
        labels = scene("road", "tree", "car", values={"car": 5, "road": 9, "tree": 7})
        write_mask(source / folder / "a_mask.png", labels)
        (source / folder / "_classes.csv").write_text(
            "Pixel Value, Class\n0, background\n5, car\n7, tree\n9, road\n", encoding="utf-8"
        )
    return source
