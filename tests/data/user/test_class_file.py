from pathlib import Path

import pytest

from fakd.data import DataError
from fakd.data.sets.voc2012 import VOC2012
from fakd.data.user.class_file import read_class_list
from fakd.data.user.masks import ClassList, UserClass, voc_colour


def _read(root: Path, text: str, name: str = "classes.yaml") -> ClassList:
    (root / name).write_text(text, encoding="utf-8")
    return read_class_list(root)


@pytest.mark.parametrize(
    "text",
    [
        "- {name: road, value: 3, color: [128, 64, 128]}\n- {name: car, value: [4, 5], colour: ['#000001', [0, 0, 2]]}",
        "classes:\n  road: {value: 3, color: '#804080'}\n  car: {value: [4, 5], color: [[0, 0, 1], [0, 0, 2]]}",
    ],
)
def test_yaml(tmp_path: Path, text: str) -> None:
    assert _read(tmp_path, text).classes == (
        UserClass("road", (3,), ((128, 64, 128),)),
        UserClass("car", (4, 5), ((0, 0, 1), (0, 0, 2))),
    )


def test_short_forms(tmp_path: Path) -> None:
    assert _read(tmp_path, "[a, b: '#010203', c: [4, 5, 6]]").classes == (
        UserClass("a", (0,)),
        UserClass("b", (1,), ((1, 2, 3),)),
        UserClass("c", (2,), ((4, 5, 6),)),
    )
    assert _read(tmp_path, "classes: {a: 7, b: 9}").classes == (UserClass("a", (7,)), UserClass("b", (9,)))


def test_merge_and_ignore(tmp_path: Path) -> None:
    text = "classes: [road, car: '#000001', sky, bus: '#000002', dog]\nmerge: {vehicle: [bus, car]}\n"
    text += "ignore: [9, '#ffffff']"
    found = _read(tmp_path, text)
    assert found.classes == (
        UserClass("road", (0,)),
        UserClass("vehicle", (1, 3), ((0, 0, 1), (0, 0, 2))),
        UserClass("sky", (2,)),
        UserClass("dog", (4,)),
    )
    assert (found.ignored_values, found.ignored_colours, found.ignored_value) == ((9,), ((255, 255, 255),), 255)
    values = {0: 0, 1: 1, 2: 2, 3: 1, 4: 3, 9: 255, 255: 255}
    assert found.table.tolist() == [values.get(value, -1) for value in range(256)]


def test_values_beyond_eight_bits(tmp_path: Path) -> None:
    found = _read(tmp_path, "classes: {background: 0, object: 255, far: 1000}\nignore: '#000000'")
    assert found.ignored_value == 1001
    values = {0: 0, 255: 1, 1000: 2, 1001: 255}
    assert found.table.tolist() == [values.get(value, -1) for value in range(1002)]


def test_made_up_colours(tmp_path: Path) -> None:
    assert tuple(map(voc_colour, range(21))) == VOC2012.palette
    palette = _read(tmp_path, "[a, b: '#800000', c, d]").palette
    assert palette == ((0, 128, 0), (128, 0, 0), (128, 128, 0), (0, 0, 128))


def test_ignored_classes_keep_their_places(tmp_path: Path) -> None:
    found = _read(tmp_path, "classes: [null, road, car, sky: '#000001', null]\nignore: [null, sky, 9]")
    assert found.classes == (UserClass("road", (1,)), UserClass("car", (2,)))
    assert {*found.ignored_values} == {0, 3, 4, 9}
    assert found.ignored_colours == ((0, 0, 1),)
    assert found.table[:6].tolist() == [255, 0, 1, 255, 255, -1]


@pytest.mark.parametrize(
    ("text", "line", "message"),
    [
        ("", 0, "no classes in it"),
        ("classes: []", 0, "no classes in it"),
        ("road", 0, "no classes in it"),
        ("[a: [", 0, "not readable as YAML"),
        ("classes:\n- a\nclasses:\n- b", 0, "not readable as YAML: 'classes' stands twice .*, line 3"),
        ("classes: [a, b]\nmergee: {}", 2, "unknown key mergee, expected base_size, classes"),
        ("- a\n- no", 2, "False is no name of a class. Put names"),
        ("classes:\n- null\n- a", 2, 'YAML reads null, ~ and nothing as no name.* "null", in .* `ignore: \\[null\\]`'),
        ("- a\n- b\n- a", 3, "class a occurs more than once"),
        ("[{name: a, valu: 1}]", 1, "class 'a' has the unknown key valu"),
        ("- a: 1\n- b", 2, "no value for b, though a has one"),
        ("classes:\n  a: 1\n  b: 1", 3, "value 1 stands for a and for b"),
        ("[a: -1]", 1, "class 'a': value -1, expected a whole number from 0 to 65535"),
        ("[{name: a, value: []}]", 1, "class 'a' has no value"),
        ("[a: '#12']", 1, "class 'a': colour '#12', expected three numbers"),
        ("[a: [0, 0, 256]]", 1, r"class 'a': colour \[0, 0, 256\], expected"),
        ("- {name: a, color: }", 1, "class 'a' has an empty colour. In YAML \"#804080\" needs quotation marks"),
        ("[a: '#000000', b: '#000000']", 1, r"colour \(0, 0, 0\) stands for a and for b"),
        ("classes: [a, b]\nignore: 0", 2, r"0 stands for a. To leave that class out, write `ignore: \[a\]`"),
        ("classes: [a, b]\nignore: [c]", 2, "ignore: c is no class of the list, and no value or colour"),
        ("classes: [a, b]\nmerge: {c: [a, d]}", 2, "merge names d, expected only classes of the list"),
        ("classes: [a, b]\nmerge: {c: [a], d: [a]}", 2, "merge names a more than once"),
        ("classes: [a, b, c]\nmerge: {c: [a, b]}", 2, "merge makes c, but there is a class of that name"),
        ("classes: [a, b]\nmerge: [a, b]", 2, "merge is expected to name new classes"),
        ("classes: [a, b]\nmasks: rgb", 2, "masks is 'rgb', expected index or color"),
        ("classes: [a, b]\ncrop_size: 5", 2, r"crop_size is 5, expected height and width in pixels, as \[512, 1024\]"),
        ("classes: [a, b]\nmask_suffix: 1", 2, "mask_suffix is 1, expected text"),
        (f"classes: {[f'c{number}' for number in range(256)]}", 0, "256 classes, expected 255 at most"),
        ("[person]", 0, "1 class, expected two or more: .* `classes: {background: 0, person: 255}`"),
        ("classes: [a, b]\nmerge: {c: [a, b]}", 0, "1 class, expected two or more"),
        ("classes: [a, b]\nignore: [b]", 0, "1 class, expected two or more"),
    ],
)
def test_mistakes(tmp_path: Path, text: str, line: int, message: str) -> None:
    with pytest.raises(DataError, match=rf"classes\.yaml{f', line {line}' if line else ''}: {message}"):
        _read(tmp_path, text)


def test_files_at_fault(tmp_path: Path) -> None:
    (tmp_path / "classes.txt").write_bytes("Stra\xdfe".encode("latin-1"))
    with pytest.raises(DataError, match=r"classes\.txt: not readable as UTF-8"):
        read_class_list(tmp_path)
    with pytest.raises(DataError, match=r"classes\.yaml and classes\.txt are there, expected one of them"):
        _read(tmp_path, "[a]")
