from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from fakd.data import DataError
from fakd.data.pairs import PairedFiles, label_table, pair_folders

TABLE = label_table({index: index for index in range(11)} | {11: 255})


def _open(root: Path) -> PairedFiles:
    return PairedFiles(root, pair_folders(root / "train", root / "trainannot"), TABLE)


def test_reads_pairs_sorted_with_any_suffix(write_pair, tmp_path: Path) -> None:
    write_pair("b.PNG", "b.png")
    write_pair("a.JPG", "a.PNG")
    write_pair("c.1.jpeg", "c.1.png")
    (tmp_path / "train" / "Thumbs.db").write_bytes(b"x")
    (tmp_path / "train" / "._a.jpg").write_bytes(b"left by macOS")
    source = _open(tmp_path)
    source.check()
    assert [source[index].name for index in range(len(source))] == ["train/a", "train/b", "train/c.1"]


def test_sample_holds_classes_and_ignore(write_pair, tmp_path: Path) -> None:
    values = np.full((8, 12), 3, dtype=np.uint8)
    values[0, 0], values[0, 1] = 11, 255
    write_pair(values=values)
    image, label, _ = _open(tmp_path)[0]
    assert image.shape == (3, 8, 12)
    assert image.dtype == label.dtype == torch.uint8
    assert label[0, :3].tolist() == [255, 255, 3]


def test_sixteen_bit_mask_in_range_is_fine(write_pair, tmp_path: Path) -> None:
    write_pair(values=np.full((8, 12), 10, dtype=np.uint16))
    assert _open(tmp_path)[0].label.unique().tolist() == [10]


@pytest.mark.parametrize(("dtype", "bad"), [(np.uint8, [12, 200]), (np.uint16, [12, 266, 65535])])
def test_values_outside_the_classes_are_named(write_pair, tmp_path: Path, dtype, bad: list[int]) -> None:
    values = np.zeros((8, 12), dtype=dtype)
    values[0, : len(bad)] = bad
    write_pair(values=values)
    expected = rf"a\.png: label values {', '.join(map(str, bad))} outside the classes, expected only 0-11, 255"
    with pytest.raises(DataError, match=expected):
        _open(tmp_path).check()


def test_check_names_the_first_file_at_fault(write_pair, tmp_path: Path) -> None:
    for name in "abcdef":
        write_pair(f"{name}.jpg", f"{name}.png")
    (tmp_path / "train" / "d.jpg").write_bytes(b"")
    (tmp_path / "train" / "e.jpg").write_bytes(b"")
    with pytest.raises(DataError, match=r"d\.jpg: the file is empty"):
        _open(tmp_path).check()


def test_file_that_vanishes(write_pair, tmp_path: Path) -> None:
    _, mask = write_pair()
    source = _open(tmp_path)
    mask.unlink()
    with pytest.raises(DataError, match=r"a\.png: no such file"):
        source.check()


def test_size_mismatch(write_pair, tmp_path: Path) -> None:
    write_pair(size=(10, 8))
    with pytest.raises(DataError, match=r"a\.png: the mask has 12x8 pixels .*a\.jpg has 10x8"):
        _open(tmp_path)[0]


@pytest.mark.parametrize(
    ("folder", "message"),
    [("trainannot", r"trainannot: no mask for 7 of 8 images"), ("train", r"train: no image for 7 of 8 masks")],
)
def test_missing_partners_are_listed(write_pair, tmp_path: Path, folder: str, message: str) -> None:
    for name in "abcdefgh":
        write_pair(f"{name}.png", f"{name}.png")
        if name != "a":
            (tmp_path / folder / f"{name}.png").unlink()
    with pytest.raises(DataError, match=message + r" \(b\.png, c\.png, d\.png, e\.png, f\.png and 2 more\)"):
        _open(tmp_path)


def test_two_images_of_one_name(write_pair, tmp_path: Path) -> None:
    write_pair("a.png")
    write_pair("a.jpg")
    with pytest.raises(DataError, match=r"a\.jpg and a\.png have the same name"):
        _open(tmp_path)


def test_jpeg_masks_are_refused(write_pair, tmp_path: Path) -> None:
    write_pair()
    (tmp_path / "trainannot" / "a.png").unlink()
    Image.new("L", (12, 8)).save(tmp_path / "trainannot" / "a.jpg")
    with pytest.raises(DataError, match=r"1 masks are JPEG or WebP files \(a\.jpg\), expected PNG"):
        _open(tmp_path)


def test_empty_and_missing_folder(tmp_path: Path) -> None:
    (tmp_path / "train").mkdir()
    with pytest.raises(DataError, match=r"train: no images there, expected files ending in \.jpg, \.jpeg, \.png"):
        _open(tmp_path)
    with pytest.raises(DataError, match=r"gone: no such folder, expected the images there"):
        pair_folders(tmp_path / "gone", tmp_path)


def test_label_table_refuses_what_does_not_fit() -> None:
    with pytest.raises(ValueError, match="maps 256 to 0"):
        label_table({256: 0})
