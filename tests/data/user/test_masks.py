from pathlib import Path

import numpy as np
import pytest
from folders import write_mask
from PIL import Image

from fakd.data import DataError
from fakd.data.user.masks import ClassList, Colour, UserClass, UserMasks

COLOURS: list[Colour] = [(0, 0, 0), (200, 100, 0), (255, 255, 255), (0, 0, 9)]
VALUES = np.random.default_rng(0).integers(0, 4, (8, 12), dtype=np.uint8)
PICTURE = np.array(COLOURS, dtype=np.uint8)[VALUES]


def _classes(**options: object) -> ClassList:
    named = [UserClass(name, (10 * place,), (COLOURS[place],)) for place, name in enumerate(("a", "b", "c"))]
    return ClassList(Path("classes.yaml"), tuple(named), (), (COLOURS[3],), options)


def test_colours_are_read_as_values(tmp_path: Path) -> None:
    expected = np.array([0, 10, 20, 255])[VALUES]
    path = write_mask(tmp_path / "a.png", PICTURE)
    assert np.array_equal(UserMasks(_classes())(path), expected)
    Image.fromarray(PICTURE).convert("RGBA").save(path)
    assert np.array_equal(UserMasks(_classes())(path), expected)
    Image.fromarray(PICTURE).quantize(4).save(path)  # a palette in an order of its own
    assert np.array_equal(UserMasks(_classes(masks="color"))(path), expected)


def test_several_colours_of_one_class(tmp_path: Path) -> None:
    classes = ClassList(Path("c"), (UserClass("a", (0, 1), tuple(COLOURS[:3])), UserClass("b", (2,), (COLOURS[3],))))
    read = UserMasks(classes)(write_mask(tmp_path / "a.png", PICTURE))
    assert np.array_equal(classes.table[read], VALUES == 3)


def test_unknown_colours(tmp_path: Path) -> None:
    picture = PICTURE.copy()
    picture[0, :5], picture[3, 2] = (201, 100, 0), (250, 255, 251)
    path = write_mask(tmp_path / "a.png", picture)
    expected = (
        r"a\.png: colours of no class: \(201, 100, 0\) in 5 pixels \(nearest is \(200, 100, 0\), b\), "
        r"\(250, 255, 251\) in 1 pixels \(nearest is \(255, 255, 255\), c\)\. Add them to classes\.yaml"
    )
    with pytest.raises(DataError, match=expected):
        UserMasks(_classes())(path)


def test_colours_where_classes_have_none(tmp_path: Path) -> None:
    classes = ClassList(Path("classes.txt"), (UserClass("a", (0,), (COLOURS[0],)), UserClass("b", (1,))))
    with pytest.raises(DataError, match=r"RGB mask where an index mask is due, as classes\.txt gives no colour for b"):
        UserMasks(classes)(write_mask(tmp_path / "a.png", PICTURE))
    grey = np.repeat(VALUES[..., None], 3, axis=2)
    assert np.array_equal(UserMasks(classes)(write_mask(tmp_path / "a.png", grey)), VALUES)


def test_fractions_are_refused(tmp_path: Path) -> None:
    Image.fromarray(VALUES.astype(np.float32)).save(tmp_path / "a.tif")
    with pytest.raises(DataError, match=r"a\.tif: the mask stores fractions \(mode F\)"):
        UserMasks(_classes())(tmp_path / "a.tif")


def test_indices(tmp_path: Path) -> None:
    path = write_mask(tmp_path / "a.png", VALUES * 10)
    assert np.array_equal(UserMasks(_classes())(path), VALUES * 10)
    mask = Image.fromarray(VALUES * 10)
    mask.putpalette([1, 2, 3] * 256)
    mask.save(path)
    assert np.array_equal(UserMasks(_classes())(path), VALUES * 10)
    deep = VALUES.astype(np.uint16) * 300
    assert np.array_equal(UserMasks(_classes())(write_mask(path, deep)), deep)


def test_equal_channels_are_colours_where_the_classes_have_them(tmp_path: Path) -> None:
    def read(grey: np.ndarray, **options: str) -> np.ndarray:
        path = write_mask(tmp_path / "a.png", np.repeat(grey[..., None], 3, axis=2))
        return UserMasks(_classes(**options))(path)

    black_and_white = VALUES // 2 * np.uint8(255)
    assert np.array_equal(read(black_and_white), VALUES // 2 * 20)
    assert np.array_equal(read(black_and_white, masks="index"), black_and_white)
    assert np.array_equal(read(VALUES), VALUES)
    with pytest.raises(DataError, match=r"colours of no class: .*\(1, 1, 1\)"):
        read(VALUES, masks="color")


def test_what_could_mean_two_things(tmp_path: Path) -> None:
    white = write_mask(tmp_path / "white.png", np.full((8, 12), 255, dtype=np.uint8))
    swapped = Image.fromarray(VALUES // 2 * 10)
    swapped.putpalette([0, 0, 9] * 10 + [255, 255, 255])
    swapped.save(tmp_path / "swapped.png")
    with pytest.raises(DataError, match=r"white\.png: value 255 stands for ignore, but .* \(255, 255, 255\), which"):
        UserMasks(_classes())(white)
    with pytest.raises(DataError, match=r"value 0 stands for a, but it is shown in the colour \(0, 0, 9\).* `masks: "):
        UserMasks(_classes())(tmp_path / "swapped.png")
    assert np.unique(UserMasks(_classes(masks="index"))(white)).tolist() == [255]
    assert np.unique(UserMasks(_classes(masks="color"))(white)).tolist() == [20]
