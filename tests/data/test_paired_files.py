import unicodedata
from pathlib import Path

import numpy as np
import pytest
import torch
from folders import write_image, write_mask
from PIL import Image

from fakd.data import DataError
from fakd.data.paired_files import PairedFiles, UnpairedError, label_table, pair_folders

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
    image, label = _open(tmp_path)[0][:2]
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


def test_masks_by_another_reader(write_pair, tmp_path: Path) -> None:
    write_pair()
    numbers = np.arange(96).reshape(8, 12) + 300
    table = label_table({number: number % 3 for number in range(300, 396)}, size=460)
    pairs = pair_folders(tmp_path / "train", tmp_path / "trainannot")
    source = PairedFiles(tmp_path, pairs, table, read=lambda path: numbers)
    assert np.array_equal(source[0].label, numbers % 3)
    assert (len(table), table[255], table[256], table[459]) == (460, 255, -1, -1)
    numbers[0, 0], numbers[0, 1] = -1, 460
    with pytest.raises(DataError, match="label values -1, 460 outside the classes, expected only 255, 300-395"):
        source[0]


def test_pairs_at_fault_can_still_be_looked_at(write_pair, tmp_path: Path) -> None:
    for name in "abc":
        write_pair(f"{name}.jpg", f"{name}.png")
    (tmp_path / "train" / "a.jpg").unlink()
    (tmp_path / "trainannot" / "b.png").unlink()
    with pytest.raises(
        UnpairedError, match=r"(?s)no mask for 1 of 2 images \(b\.jpg\).*no image for 1 of 2 masks"
    ) as info:
        _open(tmp_path)
    assert [info.value.source[index].name for index in range(len(info.value.source))] == ["train/c"]
    assert [fault.split(" in ")[0] for fault in info.value.faults] == [
        f"{tmp_path}/train/b.jpg: the image has no mask",
        f"{tmp_path}/trainannot/a.png: the mask has no image",
    ]


def test_every_fault_of_a_pair(write_pair, tmp_path: Path) -> None:
    write_pair("a.jpg", "a.png")
    write_pair("b.jpg", "b.png", size=(9, 8), values=np.full((8, 12), 77, dtype=np.uint8))
    write_pair("c.jpg", "c.png")
    (tmp_path / "train" / "c.jpg").write_bytes(b"")
    (tmp_path / "trainannot" / "c.png").write_bytes(b"")
    source = _open(tmp_path)
    assert source.faults(0) == []
    assert [fault.split(":")[1][:20] for fault in source.faults(1)] == [" the mask has 12x8 p", " label value 77 outs"]
    assert [Path(fault.split(":")[0]).name for fault in source.faults(2)] == ["c.jpg", "c.png"]


def test_subfolders_and_endings(tmp_path: Path) -> None:
    for name in ("images/x/1_photo.jpg", "images/y/1_photo.JPG", "masks/x/1_ids.png", "masks/y/1_ids.png"):
        write_image(tmp_path / name)
    write_image(tmp_path / "masks" / "x" / "1_colour.png")
    pairs = pair_folders(tmp_path / "images", tmp_path / "masks", "_photo", "_ids")
    assert [(image.name, mask.name) for image, mask in pairs] == [
        ("1_photo.jpg", "1_ids.png"),
        ("1_photo.JPG", "1_ids.png"),
    ]
    assert pairs.problems == ()
    write_image(tmp_path / "images" / "x" / "2.jpg")
    (problem,) = pair_folders(tmp_path / "images", tmp_path / "masks", "_photo", "_ids").problems
    assert problem.summary.startswith(f"{tmp_path}/masks: no mask for 1 of 3 images (2.jpg)")


def test_accents_in_either_spelling(tmp_path: Path) -> None:
    write_image(tmp_path / "images" / unicodedata.normalize("NFD", "Größe é.jpg"))
    write_image(tmp_path / "masks" / unicodedata.normalize("NFC", "Größe é.png"))
    assert len(pair_folders(tmp_path / "images", tmp_path / "masks")) == 1


@pytest.mark.parametrize(("orientation", "turned"), [(6, True), (8, True), (3, False), (None, False)])
def test_size_of_turned_photos(tmp_path: Path, orientation: int | None, turned: bool) -> None:
    write_image(tmp_path / "train" / "a.jpg", (12, 8) if turned else (8, 12), orientation=orientation)
    write_mask(tmp_path / "trainannot" / "a.png", size=(12, 8))
    expected = r"as stored, but the EXIF data" if turned else r"has 8x12 \(after EXIF rotation\)"
    with pytest.raises(DataError, match=rf"a\.png: the mask has 12x8 pixels .*{expected}"):
        _open(tmp_path)[0]


def test_label_table_refuses_what_does_not_fit() -> None:
    with pytest.raises(ValueError, match="maps 256 to 0"):
        label_table({256: 0})
    with pytest.raises(ValueError, match=r"maps 460 to 0, expected 0\.\.459 to 0\.\.255"):
        label_table({460: 0}, size=460)
    with pytest.raises(ValueError, match="maps 3 to 256"):
        label_table({3: 256}, size=460)
