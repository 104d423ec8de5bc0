"""What other tools' exports hold, as a folder for `--dataset folder`."""

from collections.abc import Callable
from pathlib import Path
from typing import Literal

from fakd.data.importing.annotations import Annotations
from fakd.data.importing.coco import read_coco
from fakd.data.importing.labelme import read_labelme
from fakd.data.importing.masks import read_roboflow, read_voc
from fakd.data.importing.supervisely import read_supervisely
from fakd.data.importing.yolo import read_yolo

Format = Literal["coco", "labelme", "yolo", "voc", "roboflow", "supervisely"]

READERS: dict[Format, Callable[[Path], Annotations]] = {
    "coco": read_coco,
    "labelme": read_labelme,
    "yolo": read_yolo,
    "voc": read_voc,
    "roboflow": read_roboflow,
    "supervisely": read_supervisely,
}
"""What reads an export of each format."""
