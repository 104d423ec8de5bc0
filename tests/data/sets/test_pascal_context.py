import shutil
from pathlib import Path

import numpy as np
import pytest
from published_files import write_image, write_list, write_mask
from scipy.io import savemat

from fakd.data.sets.ade20k import ADE20K
from fakd.data.sets.pascal_context import CLASS_OF_LABEL, PASCAL_CONTEXT
from fakd.data.spec import DataError, SlidingWindow

# The numbers of the 59 classes among the 459 labels, in the order of MMSegmentation's converter, which sorts them.
NUMBERS = (
    "2 259 260 415 324 9 258 144 18 19 22 23 397 25 284 158 159 416 33 162 420 454 295 296 427 44 45 46 308 59 440 "
    "445 31 232 65 354 424 68 326 72 458 34 207 80 355 85 347 220 349 360 98 187 104 105 366 189 368 113 115"
)
# The 59 classes in the order of the authors' 59_labels.txt, with the numbers that their labels.txt gives the names.
NAMED = {
    **{"aeroplane": 2, "bicycle": 23, "bird": 25, "boat": 31, "bottle": 34, "bus": 45, "car": 59, "cat": 65},
    **{"chair": 72, "cow": 98, "table": 397, "dog": 113, "horse": 207, "motorbike": 258, "person": 284},
    **{"pottedplant": 308, "sheep": 347, "sofa": 368, "train": 416, "tvmonitor": 427, "bag": 9, "bed": 18},
    **{"bench": 22, "book": 33, "building": 44, "cabinet": 46, "ceiling": 68, "cloth": 80, "computer": 85},
    **{"cup": 104, "door": 115, "fence": 144, "floor": 158, "flower": 159, "food": 162, "grass": 187, "ground": 189},
    **{"keyboard": 220, "light": 232, "mountain": 259, "mouse": 260, "curtain": 105, "platform": 296, "sign": 355},
    **{"plate": 295, "road": 324, "rock": 326, "shelves": 349, "sidewalk": 354, "sky": 360, "snow": 366},
    **{"bedclothes": 19, "track": 415, "tree": 420, "truck": 424, "wall": 440, "water": 445, "window": 454},
    "wood": 458,
}
TRAIN, VAL = ["2008_000008", "2008_000015"], ["2008_000002", "2008_000003", "2010_000001"]


def _root(tmp_path: Path) -> Path:
    root = tmp_path / "VOCdevkit" / "VOC2010"
    for name in (*TRAIN, *VAL, "2010_999999"):
        write_image(root / "JPEGImages" / f"{name}.jpg")
    for split, names in (("train", TRAIN), ("val", VAL)):
        write_list(root / "ImageSets" / "Main" / f"{split}.txt", names)
    return root


def _write_mat(root: Path, name: str, values: np.ndarray | int) -> Path:
    path = root / "trainval" / f"{name}.mat"
    path.parent.mkdir(exist_ok=True)
    values = np.full((8, 12), values) if isinstance(values, int) else values
    savemat(path, {"LabelMap": values.astype(np.uint16)}, do_compression=True)
    return path


@pytest.fixture
def png_root(tmp_path: Path) -> Path:
    """What MMSegmentation's converter makes."""
    root = _root(tmp_path)
    for split, names in (("train", TRAIN), ("val", VAL)):
        write_list(root / "ImageSets" / "SegmentationContext" / f"{split}.txt", names)
        for name in names:
            write_mask(root / "SegmentationClassContext" / f"{name}.png", 46)
    return root


@pytest.fixture
def mat_root(tmp_path: Path) -> Path:
    """What the authors publish."""
    root = _root(tmp_path)
    for name in (*TRAIN, *VAL):
        _write_mat(root, name, 284)
    (root / "labels.txt").write_text("1: accordion\n")
    return root


def test_description() -> None:
    assert len(NAMED) == 59
    assert sorted(map(int, NUMBERS.split())) == sorted(NAMED.values())
    assert PASCAL_CONTEXT.classes == tuple(sorted(NAMED, key=NAMED.__getitem__)) == tuple(sorted(NAMED))
    assert len(PASCAL_CONTEXT.palette) == len(set(PASCAL_CONTEXT.classes)) == PASCAL_CONTEXT.num_classes == 59
    # First and last colour of MMSegmentation's PascalContextDataset59.
    assert PASCAL_CONTEXT.palette[:2] == ((180, 120, 120), (6, 230, 230))
    assert PASCAL_CONTEXT.palette[-2:] == ((0, 173, 255), (31, 0, 255))
    assert ADE20K.palette[1:60] == PASCAL_CONTEXT.palette


def test_protocol() -> None:
    assert PASCAL_CONTEXT.name == "pascal-context"
    assert dict(PASCAL_CONTEXT.counts) == {"train": 4998, "val": 5105}
    assert (PASCAL_CONTEXT.base_size, PASCAL_CONTEXT.crop_size) == ((520, 520), (512, 512))
    assert PASCAL_CONTEXT.learning_rate == 0.004
    assert PASCAL_CONTEXT.window == SlidingWindow((480, 480), (320, 320))
    assert "Flickr" in PASCAL_CONTEXT.notice


def _expected(number: int) -> int:
    ranked = sorted(map(int, NUMBERS.split()))
    return ranked.index(number) if number in ranked else 255


def test_table_is_the_published_one() -> None:
    assert list(CLASS_OF_LABEL) == list(range(460))
    assert all(CLASS_OF_LABEL[number] == _expected(number) for number in range(460))
    assert {name: PASCAL_CONTEXT.classes[CLASS_OF_LABEL[number]] for name, number in NAMED.items()} == {
        name: name for name in NAMED
    }


def test_every_number_of_the_label_maps(mat_root: Path) -> None:
    raw = np.arange(460).reshape(20, 23)
    write_image(mat_root / "JPEGImages" / f"{VAL[0]}.jpg", (23, 20))
    _write_mat(mat_root, VAL[0], raw)
    source = PASCAL_CONTEXT.open(mat_root, "val")
    label = source[0].label
    assert label.flatten().tolist() == [_expected(number) for number in range(460)]
    assert sorted(set(label.unique().tolist())) == [*range(59), 255]
    source.check()


@pytest.mark.parametrize("value", [460, 515, 65535])
def test_numbers_beyond_the_labels_are_refused(mat_root: Path, value: int) -> None:
    _write_mat(mat_root, VAL[1], value)
    with pytest.raises(DataError, match=rf"2008_000003\.mat: label value {value} outside the classes.* 0-459"):
        PASCAL_CONTEXT.open(mat_root, "val").check()


def test_every_png_value(png_root: Path) -> None:
    write_image(png_root / "JPEGImages" / f"{VAL[0]}.jpg", (61, 1))
    write_mask(png_root / "SegmentationClassContext" / f"{VAL[0]}.png", np.array([[*range(60), 255]]))
    source = PASCAL_CONTEXT.open(png_root, "val")
    assert source[0].label.tolist() == [[255, *range(59), 255]]
    source.check()
    write_mask(png_root / "SegmentationClassContext" / f"{VAL[1]}.png", 60)
    with pytest.raises(DataError, match=r"2008_000003\.png: label value 60 outside the classes.* 0-59, 255"):
        source.check()


def test_both_forms_give_the_same_class(png_root: Path) -> None:
    # 46 of 59 is the sign: "sign" has number 355, and 45 of the numbers are smaller.
    as_png = PASCAL_CONTEXT.open(png_root, "train")[0].label.unique().tolist()
    shutil.rmtree(png_root / "SegmentationClassContext")
    for name in TRAIN:
        _write_mat(png_root, name, 355)
    as_mat = PASCAL_CONTEXT.open(png_root, "train")[0].label.unique().tolist()
    assert as_png == as_mat == [PASCAL_CONTEXT.classes.index("sign")]


def test_splits_of_the_published_maps_are_vocs(mat_root: Path) -> None:
    train, val = (PASCAL_CONTEXT.open(mat_root, split) for split in ("train", "val"))
    assert [train[index].name for index in range(len(train))] == [f"JPEGImages/{name}" for name in TRAIN]
    assert [val[index].name for index in range(len(val))] == [f"JPEGImages/{name}" for name in VAL]


def test_own_lists_come_before_vocs(png_root: Path) -> None:
    write_list(png_root / "ImageSets" / "SegmentationContext" / "val.txt", VAL[:1])
    assert len(PASCAL_CONTEXT.open(png_root, "val")) == 1


def test_half_converted_maps_are_read_as_published(mat_root: Path) -> None:
    for name in VAL[:2]:
        write_mask(mat_root / "SegmentationClassContext" / f"{name}.png", 1)
    source = PASCAL_CONTEXT.open(mat_root, "val")
    person = PASCAL_CONTEXT.classes.index("person")
    assert [source[index].label.unique().tolist() for index in range(3)] == [[person]] * 3
    write_mask(mat_root / "SegmentationClassContext" / f"{VAL[2]}.png", 1)
    assert PASCAL_CONTEXT.open(mat_root, "val")[2].label.unique().tolist() == [0]


def test_root_given_in_three_ways_or_as_a_link(mat_root: Path, tmp_path: Path) -> None:
    link = tmp_path / "link"
    link.symlink_to(mat_root, target_is_directory=True)
    for given in (mat_root, mat_root.parent, mat_root.parent.parent, link):
        assert len(PASCAL_CONTEXT.open(given, "val")) == 3


def test_upper_case_suffixes_links_and_hidden_files(mat_root: Path, tmp_path: Path) -> None:
    image, label_map = mat_root / "JPEGImages" / f"{VAL[0]}.jpg", mat_root / "trainval" / f"{VAL[0]}.mat"
    image.rename(image.with_suffix(".JPG"))
    moved = label_map.rename(tmp_path / "moved")
    label_map.with_suffix(".MAT").symlink_to(moved)
    label_map.with_name(f"._{label_map.name}").write_bytes(b"left by macOS")
    source = PASCAL_CONTEXT.open(mat_root, "val")
    assert len(source) == 3
    source.check()


def test_what_is_missing_is_named(mat_root: Path, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"no root was given.*fakd data prepare pascal-context"):
        PASCAL_CONTEXT.open(None, "val")
    with pytest.raises(DataError, match="pascal-context has no split 'test', expected one of train, val"):
        PASCAL_CONTEXT.open(mat_root, "test")
    (mat_root / "trainval" / f"{VAL[1]}.mat").unlink()
    with pytest.raises(DataError, match=r"val\.txt: no mask in trainval/ for 1 of 3 names \(2008_000003\)"):
        PASCAL_CONTEXT.open(mat_root, "val")
    shutil.rmtree(mat_root / "trainval")
    with pytest.raises(DataError, match=r"no mask for any of the 3 images .*SegmentationClassContext/ or .*trainval/"):
        PASCAL_CONTEXT.open(mat_root, "val")
    (mat_root / "ImageSets" / "Main" / "val.txt").unlink()
    with pytest.raises(DataError, match=r"Main/val\.txt: no such file, expected a list of names"):
        PASCAL_CONTEXT.open(mat_root, "val")
    shutil.rmtree(mat_root / "ImageSets")
    with pytest.raises(DataError, match=r"VOC2010: ImageSets/ missing"):
        PASCAL_CONTEXT.open(tmp_path, "val")
