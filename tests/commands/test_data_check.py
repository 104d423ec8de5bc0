import json
import os
from pathlib import Path

import numpy as np
import pytest
from folders import write_folder, write_image, write_mask
from PIL import Image

from fakd.commands.data_check import CheckConfig, check_dataset
from fakd.console import console
from fakd.data import DATASETS, DataError
from fakd.data.spec import DatasetSpec


def _check(root: Path, dataset: str = "folder") -> tuple[dict, str]:
    """Check a folder that is at fault; return the report and what was printed."""
    output = root.parent / "report.json"
    with console.capture() as printed, pytest.raises(DataError, match=r"faults?, listed above"):
        check_dataset(CheckConfig(dataset, root, output=output, overwrite=True))
    return json.loads(output.read_text(encoding="utf-8")), printed.get()


def test_every_planted_fault_is_found(tmp_path: Path) -> None:
    names = ["ok", "nomask", "size", "empty", "cut", "cutmask", "range", "deep", "rgb", "turned", "both", "täglich"]
    root = write_folder(tmp_path / "set", [f"train/a/{name}" for name in names] + ["val/b", "val/lost"])
    images, masks = root / "images" / "train" / "a", root / "masks" / "train" / "a"
    (masks / "nomask.png").unlink()
    write_mask(masks / "noimage.png")
    write_mask(masks / "size.png", size=(11, 8))
    (images / "empty.jpg").write_bytes(b"")
    for path in (write_image(images / "cut.jpg", (64, 64)), masks / "cutmask.png"):
        path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    write_mask(masks / "cut.png", size=(64, 64))
    write_mask(masks / "range.png", 7)
    write_mask(masks / "deep.png", np.full((8, 12), 999, dtype=np.uint16))
    write_mask(masks / "rgb.png", np.full((8, 12, 3), (1, 2, 3), dtype=np.uint8))
    write_image(images / "turned.jpg", orientation=6)
    (images / "both.jpg").write_bytes(b"no picture")
    write_mask(masks / "both.png", 9)
    write_image(images / "twin.jpg"), write_image(images / "twin.PNG"), write_mask(masks / "twin.png")
    write_image(images / "lossy.jpg")
    Image.new("L", (12, 8)).save(masks / "lossy.jpg")
    (images / "linked.jpg").symlink_to(images / "gone.jpg")
    write_mask(masks / "linked.png")
    (root / "images" / "val" / "lost.jpg").unlink()

    report, printed = _check(root)

    expected = {
        "images/train/a/nomask.jpg: the image has no mask",
        "masks/train/a/noimage.png: the mask has no image",
        "masks/train/a/size.png: the mask has 11x8 pixels (width x height), but its image",
        "images/train/a/empty.jpg: the file is empty (0 bytes)",
        "images/train/a/cut.jpg: not readable as image",
        "masks/train/a/cutmask.png: not readable as mask",
        "masks/train/a/range.png: label value 7 outside the classes, expected only 0-2, 255",
        "masks/train/a/deep.png: label value 999 outside the classes",
        "masks/train/a/rgb.png: an RGB mask where an index mask is due",
        "masks/train/a/turned.png: the mask has 12x8 pixels (width x height), the size of its image",
        "images/train/a/both.jpg: not readable as image",
        "masks/train/a/both.png: label value 9 outside",
        "images/train: twin.PNG and twin.jpg have the same name",
        "masks/train/a/lossy.jpg: the mask is a JPEG or WebP file",
        "images/train/a/linked.jpg: no such file",
        "masks/val/lost.png: the mask has no image",
    }
    faults = report["splits"]["train"]["faults"] + report["splits"]["val"]["faults"]
    for message in expected:
        assert sum(fault.startswith(f"{root}/{message}") for fault in faults) == 1, (message, faults)
    assert report["fault_count"] == len(faults) == len(expected)
    assert all(fault in printed for fault in faults)
    # What is sound is counted all the same: ok (0), täglich (2) and twin (0) of 96 pixels each, and b (0) in val.
    assert report["splits"]["train"]["pixels"] == 3 * 96
    assert report["splits"]["train"]["share_percent"] == pytest.approx({"road": 200 / 3, "car": 0, "sky": 100 / 3})
    assert report["splits"]["val"]["pixels"] == 96
    assert "never in train: car" in printed


def test_sound_folder(tmp_path: Path) -> None:
    root = write_folder(tmp_path / "set", ["a", "b", "c", "d"])
    (root / "val.txt").write_text("d\n")
    write_mask(root / "masks" / "b.png", np.array([[1] * 6 + [255] * 6] * 8, dtype=np.uint8))
    with console.capture() as printed:
        report = check_dataset(CheckConfig("folder", root))
    train = report["splits"]["train"]
    assert (train["images"], train["published"], train["faults"], report["fault_count"]) == (3, None, [], 0)
    assert train["share_percent"] == pytest.approx({"road": 100 / 3, "car": 50 / 3, "sky": 100 / 3})
    assert train["ignored_percent"] == pytest.approx(50 / 3)
    assert "no faults" in printed.get()
    assert "16.667" in printed.get()


def test_published_counts(tmp_path: Path, colour_spec: DatasetSpec, monkeypatch: pytest.MonkeyPatch) -> None:
    spec = DatasetSpec(**{**vars(colour_spec), "counts": {"train": 7, "val": 2000}})
    monkeypatch.setitem(DATASETS, "colours", spec)
    report, _ = _check(tmp_path, "colours")
    assert report["splits"]["train"]["faults"] == []
    (fault,) = report["splits"]["val"]["faults"]
    assert fault.startswith("val: 5 images with masks there, but colours is published with 2,000.")
    # Counted by hand from the source, which is no set of files.
    label = [spec.open(None, "train")[index].label for index in range(7)]
    share = 100 * sum(int((one == 3).sum()) for one in label) / (7 * 48 * 64)
    assert report["splits"]["train"]["share_percent"]["d"] == pytest.approx(share)


def test_a_split_that_does_not_open_is_one_fault(tmp_path: Path) -> None:
    root = write_folder(tmp_path / "set", ["a"])
    report, printed = _check(root)
    assert report["splits"]["train"] | {"share_percent": 0} == {
        "images": 1,
        "published": None,
        "pixels": 96,
        "share_percent": 0,
        "ignored_percent": 0,
        "faults": [],
        "images_of_one_value": [],
    }
    (fault,) = report["splits"]["val"]["faults"]
    assert "no split 'val' there" in fault
    assert report["splits"]["val"]["share_percent"] == {"road": None, "car": None, "sky": None}
    assert fault in printed


def test_a_fault_of_both_splits_counts_once(tmp_path: Path) -> None:
    root = write_folder(tmp_path / "set", ["a", "b"])
    (root / "val.txt").write_text("b\n")
    write_image(root / "images" / "a.png")
    report, printed = _check(root)
    assert report["fault_count"] == 1
    assert [len(found["faults"]) for found in report["splits"].values()] == [1, 1]
    assert printed.count("have the same name") == 1


def test_the_same_fault_of_many_files_is_said_once(tmp_path: Path) -> None:
    root = write_folder(tmp_path / "set", [f"{number:02}" for number in range(62)])
    (root / "val.txt").write_text("00\n01\n")
    for number in range(2, 62):
        write_mask(root / "masks" / f"{number:02}.png", 5)
    report, printed = _check(root)
    assert report["fault_count"] == 60
    assert f"{root}/masks/02.png: label value 5 outside the classes" in printed
    assert printed.count("label value 5") == 1
    assert (
        "the same in 59 more: masks/03.png, masks/04.png, masks/05.png, masks/06.png, masks/07.png and 54 m" in printed
    )


def test_long_lists_are_cut_on_the_terminal_only(tmp_path: Path) -> None:
    root = write_folder(tmp_path / "set", [f"{number:02}" for number in range(62)])
    (root / "val.txt").write_text("00\n01\n")
    for number in range(2, 62):
        write_mask(root / "masks" / f"{number:02}.png", 100 + number)
    report, printed = _check(root)
    assert report["fault_count"] == 60
    assert printed.count("label value 1") == 50
    assert "... and 10 more; --output FILE writes all of them" in printed


def test_masks_of_grey_colours_and_the_classes_that_they_need(tmp_path: Path) -> None:
    root = write_folder(tmp_path / "set", ["a", "b", "c", "d"], "background\nleaf\n")
    (root / "val.txt").write_text("d\n")
    for name in "abcd":  # of equal channels
        grey = np.repeat(np.array([[0] * 6 + [204] * 6] * 8, dtype=np.uint8)[..., None], 3, axis=2)
        write_mask(root / "masks" / f"{name}.png", grey)
    _, printed = _check(root)
    text = "classes:\n- {name: background, value: 0}\n- {name: leaf, value: 204}\n"
    assert text in printed
    (root / "classes.txt").unlink()
    (root / "classes.yaml").write_text(text)  # as it stands
    report, printed = _sound(root)
    assert report["splits"]["train"]["share_percent"] == {"background": 50, "leaf": 50}
    assert "classes:" not in printed


def test_palettes_that_contradict_each_other_and_images_of_one_value(tmp_path: Path) -> None:
    root = write_folder(tmp_path / "set", ["a", "b", "c", "d"])
    (root / "val.txt").write_text("d\n")
    red_is = {"a": 0, "b": 0, "c": 2, "d": 0}
    for name, place in red_is.items():
        mask = Image.new("P", (12, 8), place)
        palette = [0, 0, 9] * 3
        palette[3 * place : 3 * place + 3] = [255, 0, 0]
        mask.putpalette(palette)
        mask.save(root / "masks" / f"{name}.png")
    Image.new("RGB", (12, 8), (7, 7, 7)).save(root / "images" / "b.jpg")
    report, printed = _check(root)
    (fault,) = report["splits"]["train"]["faults"]
    expected = (
        f"{root}/masks/c.png: the colour (255, 0, 0) is value 2, but value 0 in {root}/masks/a.png, so the masks'"
    )
    assert fault.startswith(expected)
    assert report["splits"]["train"]["images_of_one_value"] == [f"{root}/images/b.jpg"]
    assert f"one image in train with all pixels the same: {root}/images/b.jpg" in printed


def test_names_that_are_no_utf8(tmp_path: Path) -> None:
    name = os.fsdecode(b"caf\xe9")
    root = write_folder(tmp_path / "set", ["a", name, f"{name}2"])
    (root / "val.txt").write_bytes(b"caf\xe9\n")
    write_mask(root / "masks" / f"{name}2.png", 9)
    report, printed = _check(root)
    (fault,) = report["splits"]["train"]["faults"]
    assert os.fsencode(root / "masks" / f"{name}2.png") == os.fsencode(fault.partition(": ")[0])
    assert f"{root}/masks/caf\\xe92.png: label value 9" in printed
    assert report["splits"]["val"]["images"] == 1
    (root / "val.txt").write_bytes(b"Caf\xe9\n")
    assert r"no image Caf\xe9 below" in _check(root)[1]


def test_options() -> None:
    with pytest.raises(ValueError, match="workers must be 1 or more, got 0"):
        check_dataset(CheckConfig("toy-scenes", workers=0))
    with pytest.raises(ValueError, match="'camvid' is read from disk: say where it is with --root"):
        check_dataset(CheckConfig("camvid"))


def _sound(root: Path, dataset: str = "folder") -> tuple[dict, str]:
    with console.capture() as printed:
        report = check_dataset(CheckConfig(dataset, root))
    return report, " ".join(printed.get().split())


def test_recommends_what_suits_the_data(tmp_path: Path) -> None:
    root = write_folder(tmp_path / "set", ["a", "b", "c", "d", "v"])
    (root / "val.txt").write_text("v\n")
    for name, size in (("a", (12, 8)), ("b", (60, 40)), ("c", (60, 44)), ("d", (90, 20))):  # width x height
        write_image(root / "images" / f"{name}.jpg", size=size)
        write_mask(root / "masks" / f"{name}.png", 0, size=size)
    report, printed = _sound(root)
    assert report["recommended"] == {
        "class_weights": "sqrt",
        "base_size": "20x60",  # medians of 8, 8, 20, 40, 44 and of 12, 12, 60, 60, 90
        "crop_size": "16x16",
        "max_steps": "500",
    }
    assert "recommended: --class-weights sqrt, as road is 100% of the labelled pixels in train" in printed
    assert "--base-size 20x60, the median of sizes from 8x12 to 44x60, as by default" in printed
    assert printed.startswith("folder: 3 classes; images are fitted into 20x60 (height x width)")


def test_recommends_no_weights_for_even_classes_and_nothing_for_published_sets(
    tmp_path: Path, colour_spec: DatasetSpec, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = write_folder(tmp_path / "set", ["a", "b", "c", "d"])
    (root / "val.txt").write_text("d\n")
    report, printed = _sound(root)
    assert "class_weights" not in report["recommended"]
    assert "--base-size 8x12, the one size found, as by default" in printed
    monkeypatch.setitem(DATASETS, "colours", colour_spec)
    assert _sound(tmp_path, "colours")[0]["recommended"] == {}
