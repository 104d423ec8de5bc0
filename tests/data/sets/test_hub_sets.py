import json
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
import torch
from datasets import ClassLabel, Dataset, DatasetDict, Features, Image, List, Value
from PIL import Image as Pictures

from fakd.commands.data_check import CheckConfig, check_dataset
from fakd.data import DataError, get_dataset
from fakd.data.reading import read_image

SIZES = [(8, 12), (8, 12), (10, 16)]  # height, width


def photo(place: int, size: tuple[int, int] | None = None) -> np.ndarray:
    return np.random.default_rng(place).integers(0, 256, (*(size or SIZES[place % 3]), 3), dtype=np.uint8)


def mask(place: int) -> np.ndarray:
    return np.random.default_rng(100 + place).integers(0, 3, SIZES[place % 3], dtype=np.uint8)


def png(pixels: np.ndarray) -> dict:
    file = BytesIO()
    Pictures.fromarray(pixels).save(file, "PNG")
    return {"bytes": file.getvalue(), "path": None}


def rows(count: int, image: str = "image", label: str = "label") -> Dataset:
    data = {image: [png(photo(n)) for n in range(count)], label: [png(mask(n)) for n in range(count)]}
    data["scene"] = ["street"] * count
    return Dataset.from_dict(data, Features({image: Image(), label: Image(), "scene": Value("string")}))


def parquet(folder: Path, **splits: Dataset) -> Path:
    (folder / "data").mkdir(parents=True)
    for split, part in splits.items():
        part.to_parquet(folder / "data" / f"{split}-00000-of-00001.parquet")
    (folder / "id2label.json").write_text(json.dumps({"0": "road", "2": "sky", "1": "car"}))
    return folder


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("datasets.config.HF_DATASETS_CACHE", tmp_path / "cache")


@pytest.mark.parametrize("kind", ["parquet", "disk"])
def test_rows_are_what_was_put_there(kind: str, tmp_path: Path) -> None:
    folder = tmp_path / "set"
    if kind == "parquet":
        parquet(folder, train=rows(5), validation=rows(2))
    else:
        DatasetDict(train=rows(5), validation=rows(2)).save_to_disk(folder)
        (folder / "classes.txt").write_text("road\ncar\nsky\n")

    spec = get_dataset(f"hf:{folder}")

    assert spec.classes == ("road", "car", "sky")
    assert not spec.needs_root
    assert (spec.base_size, spec.crop_size) == ((8, 12), (8, 8))
    for split, count in (("train", 5), ("val", 2)):
        source = spec.open(None, split)
        source.check()
        assert len(source) == count
        for place in range(count):
            assert np.array_equal(source[place].image.permute(1, 2, 0), photo(place))
            assert torch.equal(source[place].label, torch.from_numpy(mask(place)))
    report = check_dataset(CheckConfig(spec.name))
    assert report["splits"]["train"]["images"] == 5
    assert {"class_weights", "max_steps"} & {*report["recommended"]}


def test_names_of_the_masks_own_column(tmp_path: Path) -> None:
    names = ["road", "car", "sky"]
    features = Features({"photo": Image(), "classes": List(List(ClassLabel(names=names)))})
    data = {"photo": [png(photo(0))], "classes": [mask(0).tolist()]}
    DatasetDict(train=Dataset.from_dict(data, features)).save_to_disk(tmp_path / "set")

    spec = get_dataset(f"hf:{tmp_path / 'set'},mask=classes,val=train")

    assert spec.classes == tuple(names)
    assert torch.equal(spec.open(None, "val")[0].label, torch.from_numpy(mask(0)))


def test_masks_of_colours_with_a_list_of_classes(tmp_path: Path) -> None:
    colours = np.array([[128, 64, 128], [0, 0, 142], [70, 130, 180]], np.uint8)
    data = {"image": [png(photo(0))], "mask": [png(colours[mask(0)])]}
    DatasetDict(train=Dataset.from_dict(data, Features({"image": Image(), "mask": Image()}))).save_to_disk(
        tmp_path / "set"
    )
    (tmp_path / "classes.txt").write_text("road 128 64 128\ncar 0 0 142\nsky 70 130 180\n")

    spec = get_dataset(f"hf:{tmp_path / 'set'},classes={tmp_path}")

    assert torch.equal(spec.open(None, "train")[0].label, torch.from_numpy(mask(0)))


def test_what_cannot_be_guessed_is_asked_for(tmp_path: Path) -> None:
    folder = parquet(tmp_path / "set", train=rows(3, "left", "right"), test=rows(1, "left", "right"))
    name = f"hf:{folder}"
    for options, message in {
        "": r"unclear which column has the images and which the masks, of left, right, scene, where left, right hold "
        r"pictures. Say it, as hf:.*,image=COLUMN,mask=COLUMN",
        ",image=middle": "no column 'middle', there is left, right, scene",
        ",image=left,train=all": "no split all, there is train, test. Say which it is, as",
        ",image=left,mask=scene": "row 0, scene: expected .height, width. whole numbers",
        ",picture=left": "'picture' is no option, expected image=..., mask=...",
    }.items():
        with pytest.raises(ValueError, match=message):
            get_dataset(name + options).open(None, "train")[0]
    spec = get_dataset(f"{name},image=left,val=test")
    assert np.array_equal(spec.open(None, "val")[0].image.permute(1, 2, 0), photo(0))
    with pytest.raises(DataError, match=r"no split validation, val, valid, dev, there is train, test.*--holdout 0.2"):
        get_dataset(f"{name},image=left").open(None, "val")
    (folder / "id2label.json").unlink()
    with pytest.raises(DataError, match=r"no names of classes, and there is no id2label.json. Write classes.txt"):
        get_dataset(f"{name},image=left")


def test_faults_name_the_row(tmp_path: Path) -> None:
    good, features = png(photo(0)), Features({"image": Image(), "mask": Image()})
    bad = [png(mask(2)), png(np.full(SIZES[0], 9, np.uint8)), {"bytes": b"no picture", "path": None}, None]
    data = {"image": [good] * 4, "mask": bad}
    folder = tmp_path / "set"
    DatasetDict(train=Dataset.from_dict(data, features)).save_to_disk(folder)
    (folder / "classes.txt").write_text("road\ncar\nsky\n")
    source = get_dataset(f"hf:{folder}").open(None, "train")

    for place, message in enumerate(
        (
            r"the mask has 16x10 pixels .*, but its image has 12x8",
            r"label value 9 outside the classes, expected only 0-2, 255",
            r"not readable as mask",
            r"no picture there",
        )
    ):
        with pytest.raises(DataError, match=rf"train, row {place}, mask: {message}"):
            source[place]
    with pytest.raises(DataError, match="row 0, mask"):
        source.check()


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("hf:no such folder", "no such folder, and no ORGANISATION/NAME of the Hugging Face Hub"),
        ("hf:nobody/nothing", "hf:nobody/nothing: not read by datasets: "),
    ],
)
def test_what_is_not_there(name: str, message: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("datasets.config.HF_HUB_OFFLINE", True)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(DataError, match=message):
        get_dataset(name)


def test_pictures_that_are_part_of_a_file_are_read_as_files_are(tmp_path: Path) -> None:
    turned, exif = tmp_path / "turned.jpg", Pictures.Exif()
    exif[0x0112] = 6
    Pictures.fromarray(photo(0)).save(turned, exif=exif)
    features = Features({"image": Image(), "mask": Image()})
    data = {"image": [{"bytes": turned.read_bytes(), "path": None}], "mask": [png(mask(0).T.copy())]}
    DatasetDict(train=Dataset.from_dict(data, features)).save_to_disk(tmp_path / "set")
    (tmp_path / "set" / "classes.txt").write_text("road\ncar\nsky\n")

    spec = get_dataset(f"hf:{tmp_path / 'set'}")

    assert spec.base_size == (12, 8)
    assert torch.equal(spec.open(None, "train")[0].image, read_image(turned))
