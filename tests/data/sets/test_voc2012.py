import shutil
from pathlib import Path

import numpy as np
import pytest
from published_files import write_image, write_list, write_mask

from fakd.data.sets.voc2012 import VOC2012
from fakd.data.spec import DataError

VOC_TRAIN, SBD_TRAIN, VAL = ["2007_000032", "2007_000039"], ["2008_000002"], ["2007_000033", "2007_000042"]


@pytest.fixture
def root(tmp_path: Path) -> Path:
    root = tmp_path / "VOCdevkit" / "VOC2012"
    for name in (*VOC_TRAIN, *SBD_TRAIN, *VAL, "2012_999999"):
        write_image(root / "JPEGImages" / f"{name}.jpg")
    for name in (*VOC_TRAIN, *VAL):
        write_mask(root / "SegmentationClass" / f"{name}.png", 7, palette=True)
    for name in (*VOC_TRAIN, *SBD_TRAIN, *VAL):  # SBD has masks of its own for VOC's images too
        write_mask(root / "SegmentationClassAug" / f"{name}.png", 15)
    lists = root / "ImageSets" / "Segmentation"
    write_list(lists / "train.txt", VOC_TRAIN)
    write_list(lists / "trainaug.txt", [*SBD_TRAIN, *VOC_TRAIN])
    write_list(lists / "val.txt", VAL)
    return root


def _values(root: Path, split: str) -> dict[str, list[int]]:
    source = VOC2012.open(root, split)
    samples = [source[index] for index in range(len(source))]
    return {sample.name: sample.label.unique().tolist() for sample in samples}


def test_description() -> None:
    published = (
        "background aeroplane bicycle bird boat bottle bus car cat chair cow diningtable dog horse motorbike person "
        "pottedplant sheep sofa train tvmonitor"
    )
    assert VOC2012.classes == tuple(published.split())
    assert VOC2012.num_classes == len(set(VOC2012.palette)) == 21
    for index, colour in enumerate(VOC2012.palette):
        # The development kit's colour map deals the bits of the index out to red, green and blue, highest first.
        dealt = [sum((index >> 3 * k + channel & 1) << 7 - k for k in range(3)) for channel in range(3)]
        assert colour == tuple(dealt)


def test_protocol() -> None:
    assert VOC2012.name == "voc2012"
    assert dict(VOC2012.counts) == {"train": 10582, "val": 1449}
    assert (VOC2012.base_size, VOC2012.crop_size) == ((512, 2048), (512, 512))
    assert (VOC2012.learning_rate, VOC2012.window) == (0.01, None)
    assert "Flickr" in VOC2012.notice


@pytest.mark.parametrize(("folder", "palette"), [("SegmentationClass", True), ("SegmentationClassAug", False)])
def test_every_label_value(root: Path, folder: str, palette: bool) -> None:
    name = {"SegmentationClass": VOC_TRAIN[0], "SegmentationClassAug": SBD_TRAIN[0]}[folder]
    write_image(root / "JPEGImages" / f"{name}.jpg", (22, 1))
    write_mask(root / folder / f"{name}.png", np.array([[*range(21), 255]]), palette)
    labels = {sample.name: sample.label for sample in map(VOC2012.open(root, "train").__getitem__, range(3))}
    assert labels[f"JPEGImages/{name}"].tolist() == [[*range(21), 255]]


@pytest.mark.parametrize("value", [21, 254])
def test_values_beyond_the_classes_are_refused(root: Path, value: int) -> None:
    write_mask(root / "SegmentationClass" / f"{VAL[1]}.png", value, palette=True)
    with pytest.raises(DataError, match=rf"2007_000042\.png: label value {value} outside .* 0-20, 255"):
        VOC2012.open(root, "val").check()


def test_colours_instead_of_indices_are_refused(root: Path) -> None:
    write_image(root / "SegmentationClass" / f"{VAL[0]}.png")
    with pytest.raises(DataError, match=r"2007_000033\.png: the mask stores colours"):
        VOC2012.open(root, "val").check()


def test_train_is_trainaug_and_the_challenges_own_masks_come_first(root: Path) -> None:
    assert _values(root, "train") == {
        "JPEGImages/2008_000002": [15],
        "JPEGImages/2007_000032": [7],
        "JPEGImages/2007_000039": [7],
    }
    assert _values(root, "val") == {"JPEGImages/2007_000033": [7], "JPEGImages/2007_000042": [7]}


def test_one_folder_with_all_masks_is_enough(root: Path) -> None:
    shutil.rmtree(root / "SegmentationClass")
    assert set(map(tuple, _values(root, "train").values())) == {(15,)}
    assert set(map(tuple, _values(root, "val").values())) == {(15,)}


def test_val_needs_no_augmentation(root: Path) -> None:
    shutil.rmtree(root / "SegmentationClassAug")
    assert len(VOC2012.open(root, "val")) == 2


@pytest.mark.parametrize("missing", ["trainaug.txt", "SegmentationClassAug/"])
def test_missing_augmentation_says_what_makes_it(root: Path, missing: str) -> None:
    if missing == "trainaug.txt":
        (root / "ImageSets" / "Segmentation" / missing).unlink()
    else:
        shutil.rmtree(root / missing)
    with pytest.raises(DataError) as caught:
        VOC2012.open(root, "train")
    message = str(caught.value)
    assert f"{missing} missing" in message
    assert " and " not in message.split("missing")[0]
    assert f"`fakd data prepare voc2012 {root}`" in message
    assert "1,464" in message


def test_root_given_in_three_ways_or_as_a_link(root: Path, tmp_path: Path) -> None:
    link = tmp_path / "link"
    link.symlink_to(root, target_is_directory=True)
    for given in (root, root.parent, root.parent.parent, link):
        assert list(_values(given, "val")) == ["JPEGImages/2007_000033", "JPEGImages/2007_000042"]


def test_upper_case_suffixes_links_and_hidden_files(root: Path, tmp_path: Path) -> None:
    image, mask = root / "JPEGImages" / f"{VAL[0]}.jpg", root / "SegmentationClass" / f"{VAL[0]}.png"
    image.rename(image.with_suffix(".JPG"))
    moved = mask.rename(tmp_path / "moved")
    mask.with_suffix(".PNG").symlink_to(moved)
    mask.with_name(f"._{mask.name}").write_bytes(b"left by macOS")
    assert _values(root, "val")["JPEGImages/2007_000033"] == [7]


def test_what_is_missing_is_named(root: Path, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"no root was given.*fakd data prepare voc2012"):
        VOC2012.open(None, "val")
    with pytest.raises(DataError, match="voc2012 has no split 'trainaug', expected one of train, val"):
        VOC2012.open(root, "trainaug")
    (root / "ImageSets" / "Segmentation" / "val.txt").unlink()
    with pytest.raises(DataError, match=r"val\.txt: no such file, expected a list of names"):
        VOC2012.open(root, "val")
    shutil.rmtree(root / "JPEGImages")
    with pytest.raises(DataError, match=r"VOC2012: JPEGImages/ missing"):
        VOC2012.open(tmp_path, "val")


def test_names_without_files_are_counted_and_listed(root: Path) -> None:
    names = [f"2009_{number:06d}" for number in range(7)]
    write_list(root / "ImageSets" / "Segmentation" / "val.txt", [*VAL, *names])
    for name in names[1:]:
        write_image(root / "JPEGImages" / f"{name}.jpg")
    with pytest.raises(DataError) as caught:
        VOC2012.open(root, "val")
    message = str(caught.value)
    assert "val.txt: no image in JPEGImages/ for 1 of 9 names (2009_000000)." in message
    assert "no mask in SegmentationClass/ or SegmentationClassAug/ for 7 of 9 names (2009_000000, " in message
    assert "2009_000004 and 2 more" in message
