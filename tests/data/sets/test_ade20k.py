import shutil
from pathlib import Path

import numpy as np
import pytest
from published_files import write_image, write_mask

from fakd.data.sets.ade20k import ADE20K
from fakd.data.spec import DataError

FOLDERS = {"train": "training", "val": "validation"}
COUNTS = {"train": 3, "val": 2}


@pytest.fixture
def root(tmp_path: Path) -> Path:
    root = tmp_path / "ADEChallengeData2016"
    for split, folder in FOLDERS.items():
        for number in range(1, COUNTS[split] + 1):
            name = f"ADE_{split}_{number:08d}"
            write_image(root / "images" / folder / f"{name}.jpg")
            write_mask(root / "annotations" / folder / f"{name}.png", number)
    return root


def test_description() -> None:
    assert ADE20K.name == "ade20k"
    assert ADE20K.num_classes == len(set(ADE20K.classes)) == len(ADE20K.palette) == 150
    assert all(name == name.strip() for name in ADE20K.classes)
    # From the benchmark's objectInfo150 (numbered from 1) and color150.
    published = {
        1: ("wall", (120, 120, 120)),
        2: ("building", (180, 120, 120)),
        3: ("sky", (6, 230, 230)),
        8: ("bed", (204, 5, 255)),
        13: ("person", (150, 5, 61)),
        21: ("car", (0, 102, 200)),
        50: ("fireplace", (250, 10, 15)),
        67: ("flower", (255, 0, 0)),
        100: ("buffet", (255, 112, 0)),
        128: ("bicycle", (255, 245, 0)),
        150: ("flag", (92, 0, 255)),
    }
    for number, (name, colour) in published.items():
        assert (ADE20K.classes[number - 1], ADE20K.palette[number - 1]) == (name, colour)
    # The benchmark gives two classes one colour; all others differ.
    assert len(set(ADE20K.palette)) == 149
    assert ADE20K.palette[ADE20K.classes.index("skyscraper")] == ADE20K.palette[ADE20K.classes.index("road")]


def test_protocol() -> None:
    assert dict(ADE20K.counts) == {"train": 20210, "val": 2000}
    assert (ADE20K.base_size, ADE20K.crop_size) == ((512, 2048), (512, 512))
    assert (ADE20K.learning_rate, ADE20K.window) == (0.01, None)
    assert "non-commercial" in ADE20K.notice


@pytest.mark.parametrize("split", ["train", "val"])
def test_every_label_value(root: Path, split: str) -> None:
    raw = np.arange(151).reshape(1, 151)
    folder = FOLDERS[split]
    write_image(root / "images" / folder / "all.jpg", (151, 1))
    write_mask(root / "annotations" / folder / "all.png", raw)
    source = ADE20K.open(root, split)
    assert len(source) == COUNTS[split] + 1
    label = source[len(source) - 1].label
    assert label.tolist() == [[255, *range(150)]]
    source.check()


@pytest.mark.parametrize("value", [151, 200, 254])
def test_values_beyond_the_classes_are_refused(root: Path, value: int) -> None:
    write_mask(root / "annotations" / "validation" / "ADE_val_00000002.png", value)
    with pytest.raises(DataError, match=rf"ADE_val_00000002\.png: label value {value} outside .* 0-150, 255"):
        ADE20K.open(root, "val").check()


def test_root_itself_its_parent_or_a_link(root: Path, tmp_path: Path) -> None:
    link = tmp_path / "elsewhere" / "link"
    link.parent.mkdir()
    link.symlink_to(root, target_is_directory=True)
    for given in (root, root.parent, link):
        source = ADE20K.open(given, "train")
        assert [source[index].name for index in range(3)] == [
            f"images/training/ADE_train_0000000{number}" for number in (1, 2, 3)
        ]


def test_upper_case_suffixes_hidden_and_other_files(root: Path) -> None:
    images, masks = root / "images" / "validation", root / "annotations" / "validation"
    (images / "ADE_val_00000001.jpg").rename(images / "ADE_val_00000001.JPG")
    (masks / "ADE_val_00000002.png").rename(masks / "ADE_val_00000002.PNG")
    (images / "._ADE_val_00000001.jpg").write_bytes(b"left by macOS")
    (images / "index.csv").write_text("name")
    source = ADE20K.open(root, "val")
    assert len(source) == 2
    source.check()


def test_links_to_files(root: Path, tmp_path: Path) -> None:
    mask = root / "annotations" / "validation" / "ADE_val_00000001.png"
    moved = mask.rename(tmp_path / "moved.png")
    mask.symlink_to(moved)
    assert ADE20K.open(root, "val")[0].label.unique().tolist() == [0]


def test_what_is_missing_is_named(root: Path, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"no root was given.*fakd data prepare ade20k"):
        ADE20K.open(None, "train")
    with pytest.raises(DataError, match=r"gone: no such folder.*fakd data prepare ade20k"):
        ADE20K.open(tmp_path / "gone", "train")
    with pytest.raises(DataError, match="ade20k has no split 'test', expected one of train, val"):
        ADE20K.open(root, "test")
    (tmp_path / "folder").mkdir()
    with pytest.raises(DataError, match=r"folder: images/training/, annotations/training/ missing"):
        ADE20K.open(tmp_path / "folder", "train")
    shutil.rmtree(root / "annotations" / "training")
    # The parent was given, but the folder found in it is what lacks the annotations.
    with pytest.raises(DataError, match=r"ADEChallengeData2016: annotations/training/ missing.*ADEChallengeData2016"):
        ADE20K.open(tmp_path, "train")


def test_missing_mask_and_image(root: Path) -> None:
    (root / "annotations" / "training" / "ADE_train_00000002.png").unlink()
    with pytest.raises(DataError, match=r"no mask for 1 of 3 images \(ADE_train_00000002\.jpg\)"):
        ADE20K.open(root, "train")
    (root / "images" / "validation" / "ADE_val_00000001.jpg").unlink()
    with pytest.raises(DataError, match=r"no image for 1 of 2 masks \(ADE_val_00000001\.png\)"):
        ADE20K.open(root, "val")
