import unicodedata
from itertools import product
from pathlib import Path

import numpy as np
import pytest
import torch
from folders import write_folder, write_image, write_mask

from fakd.data import DataError, get_dataset
from fakd.data.batches import SegmentationData
from fakd.data.spec import Source


def _names(source: Source) -> list[str]:
    return [source[index].name for index in range(len(source))]


def _open(root: Path, split: str) -> Source:
    return get_dataset("folder", root).open(root, split)


def test_description(tmp_path: Path) -> None:
    root = write_folder(tmp_path, ["a"], "road 128 64 128\ntraffic sign #dcdc00\n")
    write_image(root / "images" / "a.jpg", (640, 400))
    spec = get_dataset("folder", root)
    assert (spec.name, spec.classes, spec.needs_root) == ("folder", ("road", "traffic sign"), True)
    assert spec.palette == ((128, 64, 128), (220, 220, 0))
    assert (spec.base_size, spec.crop_size) == ((400, 640), (400, 400))


@pytest.mark.parametrize(
    ("size", "orientation", "base", "crop"),
    [
        ((4000, 3000), None, (1536, 2048), (512, 512)),
        ((500, 375), None, (375, 500), (368, 368)),
        ((500, 375), 6, (500, 375), (368, 368)),
        ((5, 6), None, (6, 5), (8, 8)),
    ],
)
def test_default_sizes(tmp_path: Path, size, orientation, base, crop) -> None:
    write_folder(tmp_path, [])
    write_image(tmp_path / "images" / "a.jpg", size, orientation=orientation)
    (tmp_path / "images" / "0.jpg").write_bytes(b"")  # passed over: a check is to name it
    spec = get_dataset("folder", tmp_path)
    assert (spec.base_size, spec.crop_size) == (base, crop)


def test_the_default_size_is_the_median(tmp_path: Path) -> None:
    root = write_folder(tmp_path, [])
    for name, size in (("0", (24, 24)), ("1", (130, 100)), ("2", (96, 128)), ("3", (128, 96))):  # width x height
        write_image(root / "images" / f"{name}.jpg", size)
    assert get_dataset("folder", tmp_path).base_size == (96, 128)
    write_image(root / "images" / "4.jpg", (96, 128))
    write_image(root / "images" / "5.jpg", (96, 128))
    write_image(root / "images" / "6.jpg", (96, 128))
    assert get_dataset("folder", tmp_path).base_size == (128, 96)


def test_sizes_of_the_yaml(tmp_path: Path) -> None:
    write_folder(tmp_path, ["a"])
    (tmp_path / "classes.txt").unlink()
    (tmp_path / "classes.yaml").write_text("classes: [road, sky]\nbase_size: [300, 400]\ncrop_size: [64, 96]\n")
    spec = get_dataset("folder", tmp_path)
    assert (spec.base_size, spec.crop_size) == ((300, 400), (64, 96))


def test_lists(tmp_path: Path) -> None:
    root = write_folder(tmp_path, ["x/a", "x/b", "y/a", "y/b", "y/c.1", "é"])
    (root / "val.txt").write_text("\ufeffx/a.jpg\r\n\n./y/b\ny\\c.1\n" + unicodedata.normalize("NFD", "é"), "utf-8")
    assert _names(_open(root, "val")) == ["images/x/a", "images/y/b", "images/y/c.1", "images/é"]
    assert _names(_open(root, "train")) == ["images/x/b", "images/y/a"]
    (root / "splits").mkdir()
    (root / "splits" / "train.txt").write_text("y/a\n")
    (root / "splits" / "val.txt").write_text("y/a\n")  # the one beside images/ comes first
    assert _names(_open(root, "train")) == ["images/y/a"]
    with pytest.raises(DataError, match=r"no split 'test' there, expected test\.txt, or images/test/, or test/images/"):
        _open(root, "test")
    (root / "test.txt").write_text("x/b\n")
    (root / "splits" / "train.txt").unlink()
    assert _names(_open(root, "train")) == ["images/y/a"]


def test_lists_at_fault(tmp_path: Path) -> None:
    root = write_folder(tmp_path, ["a", "b", "c"])
    (root / "val.txt").write_text("a\nz.jpg\n")
    (root / "train.txt").write_text("a\nb\n")
    with pytest.raises(DataError, match=r"val\.txt: 1 of 2 images are not there \(z\.jpg\)"):
        _open(root, "val")
    with pytest.raises(
        DataError, match=r"train\.txt: 1 images are in the list or the folder of another split too \(a\)"
    ):
        _open(root, "train")
    (root / "masks" / "b.png").unlink()
    (root / "train.txt").write_text("b\n")
    with pytest.raises(DataError, match=r"no mask for 1 of 1 images \(b\.jpg\)"):
        _open(root, "train")
    (root / "val.txt").write_text("\n")
    with pytest.raises(DataError, match=r"val\.txt: the list is empty"):
        _open(root, "val")


@pytest.mark.parametrize("layout", ["images/{split}|masks/{split}", "{split}/images|{split}/masks"])
def test_split_folders(tmp_path: Path, layout: str) -> None:
    (tmp_path / "classes.txt").write_text("road\ncar\n")
    for place, split in enumerate(("train", "val", "test")):
        images, masks = layout.format(split=split).split("|")
        write_image(tmp_path / images / "deep" / f"{split}.jpg")
        write_mask(tmp_path / masks / "deep" / f"{split}.png", place % 2)
    for place, split in enumerate(("train", "val", "test")):
        (sample,) = list(_open(tmp_path, split))
        assert sample.name == f"{layout.format(split=split).split('|')[0]}/deep/{split}"
        assert sample.label.unique().tolist() == [place % 2]


def test_val_folder_beside_the_images_of_training(tmp_path: Path) -> None:
    root = write_folder(tmp_path, ["a", "b"])
    write_image(root / "val" / "images" / "c.jpg")
    write_mask(root / "val" / "masks" / "c.png")
    assert _names(_open(root, "train")) == ["images/a", "images/b"]
    assert _names(_open(root, "val")) == ["val/images/c"]


def test_no_split_is_drawn_by_chance(tmp_path: Path) -> None:
    root = write_folder(tmp_path, ["a", "b"])
    assert len(_open(root, "train")) == 2
    with pytest.raises(DataError, match=r"no split 'val' there.* find \. -type f \| shuf -n 20\) > .*val\.txt"):
        _open(root, "val")
    write_image(root / "images" / "val" / "c.jpg")
    assert _names(_open(root, "train")) == ["images/a", "images/b"]
    for name in "ab":
        (root / "images" / f"{name}.jpg").unlink()
        (root / "masks" / f"{name}.png").unlink()
    write_mask(root / "masks" / "val" / "c.png")
    with pytest.raises(DataError, match="no images to train on, expected images/ and masks/, or train/images/"):
        _open(root, "train")


_LISTS = {"train": "x/1\ntrain/1\n", "val": "x/2\ntrain/2\n", "test": "x/3\n"}


@pytest.mark.parametrize("kinds", list(product(["", "list", "inside", "outside"], repeat=3)), ids="-".join)
def test_no_image_is_in_two_splits_whatever_is_mixed(tmp_path: Path, kinds: tuple[str, ...]) -> None:
    root = write_folder(tmp_path, ["x/1", "x/2", "x/3", "x/4"])
    for split, kind in zip(("train", "val", "test"), kinds, strict=True):
        for name in ("1", "2") if kind in ("inside", "outside") else ():
            images, masks = _places(root, kind, split)
            write_image(images / f"{name}.jpg")
            write_mask(masks / f"{name}.png")
    has_train = (root / "images" / "train").is_dir()
    for split, kind in zip(("train", "val", "test"), kinds, strict=True):
        if kind == "list":
            lines = _LISTS[split].splitlines()
            (root / f"{split}.txt").write_text("\n".join(line for line in lines if has_train or "train" not in line))
    if kinds[0] == "outside" and "list" in kinds:
        with pytest.raises(DataError, match=r"unclear what to train on: there is .*images, but .*\.txt names images"):
            get_dataset("folder", root)
        return
    split_names = [
        _names(_open(root, split)) for split, kind in zip(("train", "val", "test"), kinds, strict=True) if kind
    ]
    if not kinds[0]:
        split_names.append(_names(_open(root, "train")))
    together = [name for names in split_names for name in names]
    assert len(together) == len(set(together))
    assert all(split_names)
    if kinds[0] == "inside":
        assert set(_names(_open(root, "train"))) <= {"images/train/1", "images/train/2"}


def _places(root: Path, kind: str, split: str) -> tuple[Path, Path]:
    if kind == "inside":
        return root / "images" / split, root / "masks" / split
    return root / split / "images", root / split / "masks"


@pytest.mark.parametrize(("held_out", "other"), [("val", "test"), ("test", "val")])
def test_a_list_beside_the_folder_of_another_split(tmp_path: Path, held_out: str, other: str) -> None:
    root = write_folder(tmp_path, ["train/a", "train/b", f"{other}/c"])
    (root / f"{held_out}.txt").write_text("train/a\n")
    assert _names(_open(root, "train")) == ["images/train/b"]
    assert _names(_open(root, held_out)) == ["images/train/a"]
    assert _names(_open(root, other)) == [f"images/{other}/c"]
    (root / f"{held_out}.txt").write_text(f"{other}/c\n")
    for split, place in ((held_out, rf"{held_out}\.txt"), (other, f"images/{other}")):
        with pytest.raises(DataError, match=rf"{place}: 1 images are in the list or the folder of another split too"):
            _open(root, split)
    (root / "train.txt").write_text(f"{other}/c\n")
    (root / f"{held_out}.txt").unlink()
    with pytest.raises(DataError, match=r"train\.txt: 1 images are in the list or the folder of another split too"):
        _open(root, "train")


def test_two_folders_of_one_split(tmp_path: Path) -> None:
    root = write_folder(tmp_path, ["a", "val/b"])
    write_image(root / "val" / "images" / "c.jpg")
    with pytest.raises(DataError, match=r"both .*images/val and .*val/images are there.* Keep one"):
        _open(root, "val")


def test_endings_are_found_or_said(tmp_path: Path) -> None:
    for name in ("a/x", "a/y", "b/z"):
        write_image(tmp_path / "images" / f"{name}_photo.jpg")
        write_mask(tmp_path / "masks" / f"{name}_gt.png", 1)
    (tmp_path / "val.txt").write_text("a/x\na/y_photo\n")
    (tmp_path / "classes.yaml").write_text("[road, car]")
    assert _names(_open(tmp_path, "val")) == ["images/a/x_photo", "images/a/y_photo"]
    for name in ("a/x", "a/y", "b/z"):
        write_mask(tmp_path / "masks" / f"{name}_old.png", 0)
    with pytest.raises(DataError, match=r"unclear which masks .* say how in classes\.yaml"):
        _open(tmp_path, "val")
    (tmp_path / "classes.yaml").write_text("classes: [road, car]\nimage_suffix: _photo.jpg\nmask_suffix: _old\n")
    assert [int(sample.label.max()) for sample in _open(tmp_path, "train")] == [0]


def test_kinds_of_images(tmp_path: Path) -> None:
    root = write_folder(tmp_path, ["a"])
    (root / "val.txt").write_text("a\n")
    for place, mode in enumerate(("L", "RGBA", "P", "LA")):
        write_image(root / "images" / f"Größe {mode}.PNG", mode=mode)
        write_mask(root / "masks" / f"Größe {mode}.Png", np.full((8, 12), place % 3, dtype=np.uint16))
    write_image(root / "images" / ".thumbnails" / "b.png")  # hidden, so no image without mask
    source = _open(root, "train")
    source.check()
    assert _names(source) == [f"images/Größe {mode}" for mode in ("L", "LA", "P", "RGBA")]
    assert all(sample.image.shape == (3, 8, 12) for sample in source)
    assert [int(sample.label[0, 0]) for sample in source] == [0, 0, 2, 1]


def test_links(tmp_path: Path) -> None:
    store = write_folder(tmp_path / "store", ["one/a", "two/b"])
    root = tmp_path / "set"
    for kind, suffix in (("images", "jpg"), ("masks", "png")):
        (root / kind).mkdir(parents=True)
        (root / kind / "dir").symlink_to(store / kind / "one")
        (root / kind / f"file.{suffix}").symlink_to(store / kind / "two" / f"b.{suffix}")
        (root / kind / "loop").symlink_to(root)
    (root / "classes.txt").write_text("road\ncar\n")
    (root / "val.txt").write_text("file\n")
    source = _open(root, "train")
    source.check()
    assert _names(source) == ["images/dir/a"]
    assert _names(_open(root, "val")) == ["images/file"]


def test_turned_photos(tmp_path: Path) -> None:
    root = write_folder(tmp_path, ["b"])
    write_image(root / "images" / "a.jpg", (12, 8), orientation=6)
    upright = np.arange(96, dtype=np.uint8).reshape(12, 8) % 3
    write_mask(root / "masks" / "a.png", upright)
    assert torch.equal(_open(root, "train")[0].label, torch.from_numpy(upright))
    write_mask(root / "masks" / "a.png")
    with pytest.raises(DataError, match=r"size of its image .* as stored, but the EXIF data .* turn it to 8x12"):
        _open(root, "train")[0]


def test_bad_folders(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="folder needs the path of its files, but no root was given"):
        get_dataset("folder")
    with pytest.raises(DataError, match=r"gone: no such folder, expected one with images/, masks/ and classes\.txt"):
        get_dataset("folder", tmp_path / "gone")
    with pytest.raises(DataError, match=r"no classes\.txt and no classes\.yaml"):
        get_dataset("folder", tmp_path)
    (tmp_path / "classes.txt").write_text("road\nsky\n")
    (tmp_path / "images").mkdir()
    with pytest.raises(DataError, match="images: no readable image there"):
        get_dataset("folder", tmp_path)
    write_image(tmp_path / "images" / "a.jpg")
    with pytest.raises(DataError, match="masks: no such folder, expected the masks there"):
        _open(tmp_path, "train")
    (tmp_path / "masks").mkdir()
    with pytest.raises(DataError, match="masks: no masks there"):
        _open(tmp_path, "train")
    with pytest.raises(ValueError, match=r"choose one of .*camvid, cityscapes, folder, pascal-context"):
        get_dataset("foldr")


@pytest.mark.parametrize("workers", [0, 1])
def test_loads_batches(tmp_path: Path, workers: int) -> None:
    root = write_folder(tmp_path, ["a", "b", "c"], "road 9 0 0\ncar 0 9 0\nsky 0 0 9\n")
    write_mask(root / "masks" / "b.png", np.full((8, 12, 3), (0, 0, 9), dtype=np.uint8))
    (root / "val.txt").write_text("c\n")
    data = SegmentationData(get_dataset("folder", root), root, batch_size=2, workers=workers)
    data.check()
    batch = next(iter(data.train_dataloader()))
    assert batch.image.shape == (2, 3, 8, 8)
    assert {*batch.label.unique().tolist()} <= {0, 2, 255}
    (val,) = list(data.val_dataloader())
    assert val.label.unique().tolist() == [2]
