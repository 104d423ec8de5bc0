from pathlib import Path

import numpy as np
import pytest
from published_files import write_image, write_mask

from fakd.data.sets.cityscapes import CITYSCAPES, TRAIN_ID_OF_ID
from fakd.data.spec import DataError

# (name, id, trainId, colour) as the authors publish them in cityscapesScripts, helpers/labels.py.
LABELS = [
    ("unlabeled", 0, 255, (0, 0, 0)),
    ("ego vehicle", 1, 255, (0, 0, 0)),
    ("rectification border", 2, 255, (0, 0, 0)),
    ("out of roi", 3, 255, (0, 0, 0)),
    ("static", 4, 255, (0, 0, 0)),
    ("dynamic", 5, 255, (111, 74, 0)),
    ("ground", 6, 255, (81, 0, 81)),
    ("road", 7, 0, (128, 64, 128)),
    ("sidewalk", 8, 1, (244, 35, 232)),
    ("parking", 9, 255, (250, 170, 160)),
    ("rail track", 10, 255, (230, 150, 140)),
    ("building", 11, 2, (70, 70, 70)),
    ("wall", 12, 3, (102, 102, 156)),
    ("fence", 13, 4, (190, 153, 153)),
    ("guard rail", 14, 255, (180, 165, 180)),
    ("bridge", 15, 255, (150, 100, 100)),
    ("tunnel", 16, 255, (150, 120, 90)),
    ("pole", 17, 5, (153, 153, 153)),
    ("polegroup", 18, 255, (153, 153, 153)),
    ("traffic light", 19, 6, (250, 170, 30)),
    ("traffic sign", 20, 7, (220, 220, 0)),
    ("vegetation", 21, 8, (107, 142, 35)),
    ("terrain", 22, 9, (152, 251, 152)),
    ("sky", 23, 10, (70, 130, 180)),
    ("person", 24, 11, (220, 20, 60)),
    ("rider", 25, 12, (255, 0, 0)),
    ("car", 26, 13, (0, 0, 142)),
    ("truck", 27, 14, (0, 0, 70)),
    ("bus", 28, 15, (0, 60, 100)),
    ("caravan", 29, 255, (0, 0, 90)),
    ("trailer", 30, 255, (0, 0, 110)),
    ("train", 31, 16, (0, 80, 100)),
    ("motorcycle", 32, 17, (0, 0, 230)),
    ("bicycle", 33, 18, (119, 11, 32)),
    ("license plate", -1, -1, (0, 0, 142)),
]
SCENES = ["aachen/aachen_000000_000019", "aachen/aachen_000001_000019", "zurich/zurich_000000_000019"]


def _image(root: Path, scene: str, split: str = "train") -> Path:
    return root / "leftImg8bit" / split / f"{scene}_leftImg8bit.png"


def _mask(root: Path, scene: str, kind: str = "labelIds", split: str = "train") -> Path:
    return root / "gtFine" / split / f"{scene}_gtFine_{kind}.png"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    root = tmp_path / "cityscapes"
    for scene in SCENES:
        write_image(_image(root, scene))
        write_mask(_mask(root, scene), 26)
        # What the published archive has beside the label ids.
        write_mask(_mask(root, scene, "instanceIds"), 26)
        write_image(_mask(root, scene, "color"))
        _mask(root, scene, "polygons").with_suffix(".json").write_text("{}")
    return root


def test_description() -> None:
    classes = sorted((train_id, name, colour) for name, _, train_id, colour in LABELS if 0 <= train_id < 255)
    assert CITYSCAPES.classes == tuple(name for _, name, _ in classes)
    assert CITYSCAPES.palette == tuple(colour for _, _, colour in classes)
    assert CITYSCAPES.num_classes == len(set(CITYSCAPES.classes)) == len(set(CITYSCAPES.palette)) == 19


def test_protocol() -> None:
    assert CITYSCAPES.name == "cityscapes"
    assert dict(CITYSCAPES.counts) == {"train": 2975, "val": 500}
    assert (CITYSCAPES.base_size, CITYSCAPES.crop_size) == ((1024, 2048), (512, 512))
    assert (CITYSCAPES.learning_rate, CITYSCAPES.window) == (0.01, None)
    assert "non-commercial" in CITYSCAPES.notice


def test_table_is_the_published_one() -> None:
    assert {number: index for _, number, index, _ in LABELS if number >= 0} | {255: 255} == TRAIN_ID_OF_ID


def test_every_id(root: Path) -> None:
    raw, expected = zip(*((number % 256, index % 256) for _, number, index, _ in LABELS), strict=True)
    assert (len(raw), raw[-1], expected[-1]) == (35, 255, 255)
    write_image(_image(root, SCENES[0]), (35, 1))
    write_mask(_mask(root, SCENES[0]), np.array([raw]))
    assert CITYSCAPES.open(root, "train")[0].label.tolist() == [list(expected)]


def test_every_train_id(root: Path) -> None:
    for scene in SCENES:
        write_mask(_mask(root, scene, "labelTrainIds"), 3)
    write_image(_image(root, SCENES[0]), (20, 1))
    write_mask(_mask(root, SCENES[0], "labelTrainIds"), np.array([[*range(19), 255]]))
    source = CITYSCAPES.open(root, "train")
    assert source[0].label.tolist() == [[*range(19), 255]]
    assert source[1].label.unique().tolist() == [3]  # 26, a car, in labelIds


@pytest.mark.parametrize(
    ("kind", "value", "known"), [("labelIds", 34, "0-33, 255"), ("labelTrainIds", 19, "0-18, 255")]
)
def test_values_beyond_the_table_are_refused(root: Path, kind: str, value: int, known: str) -> None:
    for scene in SCENES:
        write_mask(_mask(root, scene, kind), 3)
    write_mask(_mask(root, SCENES[2], kind), value)
    with pytest.raises(DataError, match=rf"zurich_000000_000019_gtFine_{kind}\.png: label value {value} .* {known}"):
        CITYSCAPES.open(root, "train").check()


def test_half_converted_split_is_read_from_ids_throughout(root: Path) -> None:
    for scene in SCENES[:2]:
        write_mask(_mask(root, scene, "labelTrainIds"), 3)
    source = CITYSCAPES.open(root, "train")
    assert len(source) == 3
    assert [source[index].label.unique().tolist() for index in range(3)] == [[13], [13], [13]]


def test_train_ids_alone_are_enough(root: Path) -> None:
    for scene in SCENES:
        _mask(root, scene).rename(_mask(root, scene, "labelTrainIds"))
        write_mask(_mask(root, scene, "labelTrainIds"), 18)
    assert CITYSCAPES.open(root, "train")[2].label.unique().tolist() == [18]
    _mask(root, SCENES[1], "labelTrainIds").unlink()
    with pytest.raises(DataError, match=r"no mask for 1 of 3 images \(aachen_000001_000019_leftImg8bit\.png\)"):
        CITYSCAPES.open(root, "train")


def test_names_and_order(root: Path) -> None:
    source = CITYSCAPES.open(root, "train")
    assert [source[index].name for index in range(3)] == [f"leftImg8bit/train/{scene}_leftImg8bit" for scene in SCENES]


def test_root_itself_its_parent_or_a_link(root: Path, tmp_path: Path) -> None:
    link = tmp_path / "link"
    link.symlink_to(root, target_is_directory=True)
    city = root / "leftImg8bit" / "train" / "zurich"
    moved = city.rename(tmp_path / "other disk")
    city.symlink_to(moved, target_is_directory=True)
    for given in (root, root.parent, link):
        source = CITYSCAPES.open(given, "train")
        assert len(source) == 3
        source.check()


def test_upper_case_suffixes_and_hidden_files(root: Path) -> None:
    image, mask = _image(root, SCENES[0]), _mask(root, SCENES[1])
    image.rename(image.with_suffix(".PNG"))
    mask.rename(mask.with_suffix(".PNG"))
    image.with_name(f"._{image.name}").write_bytes(b"left by macOS")
    mask.with_name(f"._{mask.name}").write_bytes(b"left by macOS")
    source = CITYSCAPES.open(root, "train")
    assert len(source) == 3
    source.check()


def test_what_is_missing_is_named(root: Path, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"no root was given.*gtFine_trainvaltest\.zip"):
        CITYSCAPES.open(None, "train")
    with pytest.raises(DataError, match=r"leftImg8bit/val/, gtFine/val/ missing.*which asks for an account"):
        CITYSCAPES.open(root, "val")
    write_image(_image(root, SCENES[0], "val"))
    with pytest.raises(DataError, match=r"cityscapes: gtFine/val/ missing"):
        CITYSCAPES.open(tmp_path, "val")
    with pytest.raises(DataError, match="cityscapes has no split 'demo', expected one of train, val, test"):
        CITYSCAPES.open(root, "demo")
    (root / "gtFine" / "val" / "aachen").mkdir(parents=True)
    with pytest.raises(DataError, match=r"gtFine/val: no masks there, expected files ending in _gtFine_labelIds"):
        CITYSCAPES.open(root, "val")


def test_missing_image_and_mask(root: Path) -> None:
    _image(root, SCENES[0]).unlink()
    _mask(root, SCENES[2]).unlink()
    with pytest.raises(DataError) as caught:
        CITYSCAPES.open(root, "train")
    assert "no mask for 1 of 2 images (zurich_000000_000019_leftImg8bit.png)" in str(caught.value)
    assert "no image for 1 of 2 masks (aachen_000000_000019_gtFine_labelIds.png)" in str(caught.value)
