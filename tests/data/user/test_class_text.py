from pathlib import Path

import pytest

from fakd.data import DataError
from fakd.data.user.class_file import read_class_list
from fakd.data.user.class_text import read_class_names
from fakd.data.user.masks import UserClass

ROAD, SIGN = (128, 64, 128), (220, 220, 0)


@pytest.mark.parametrize(
    ("text", "values", "coloured"),
    [
        ("road\ntraffic sign", (0, 1), False),
        ("\ufeffroad 128 64 128\r\n\r\ntraffic sign\t#DCDC00\r\n", (0, 1), True),
        ("road, 128,64,128\ntraffic sign: (220, 220, 0)", (0, 1), True),
        ("128 64 128\troad\n220 220 0\ttraffic sign", (0, 1), True),
        ("# label:color_rgb:parts:actions\nroad:128,64,128::\ntraffic sign:220,220,0:a,b:c", (0, 1), True),
        ("# mine\n0: road\n5: traffic sign", (0, 5), False),
        ("Pixel Value, Class\n0, road\n 3, traffic sign", (0, 3), False),
        ('name,r,g,b\nroad,128,64,128\n"traffic sign",220,220,0', (0, 1), True),
        (" name; r; g; b; id\nroad; 128; 64; 128; 7\ntraffic sign; 220; 220; 0; 8", (7, 8), True),
        ("label\tcolor\nroad\t#804080\ntraffic sign\t220 220 0", (0, 1), True),
        ("class\nroad\ntraffic sign", (0, 1), False),
    ],
)
def test_what_people_and_programs_write(tmp_path: Path, text: str, values: tuple[int, int], coloured: bool) -> None:
    (tmp_path / "classes.txt").write_text(text, encoding="utf-8")
    assert read_class_list(tmp_path).classes == (
        UserClass("road", values[:1], (ROAD,) if coloured else ()),
        UserClass("traffic sign", values[1:], (SIGN,) if coloured else ()),
    )


def test_names_that_look_odd_are_names(tmp_path: Path) -> None:
    names = ["lane 2", "Straße", "door, double door", "don't know", "2nd lane", "car (parked)", "R&D/lab", "道路"]
    (tmp_path / "classes.txt").write_text("\n".join(names), encoding="utf-8")
    assert [item.name for item in read_class_list(tmp_path).classes] == names
    (tmp_path / "classes.txt").write_text("lane 1\nlane 2")
    assert [item.name for item in read_class_list(tmp_path).classes] == ["lane 1", "lane 2"]


@pytest.mark.parametrize(
    ("text", "line", "message"),
    [
        ("sky\nroad 128 64", 2, "'road 128 64' is not understood, expected a name, or a name and its colour"),
        ("sky\nroad 0.5 0.2 0.5", 2, "'road 0.5 0.2 0.5' is not"),
        ("sky\nroad #12", 2, "'road #12' is not"),
        ("sky\n\n- road", 3, "'- road' is not"),
        ("sky\nroad:", 2, "'road:' is not"),
        ('sky\n"road": 1', 2, "is not"),
        ("sky\n7", 2, "'7' is not"),
        ("sky\nroad 1 2 300", 2, r"class 'road': colour \[1, 2, 300\], expected"),
        ("sky\n4 wheeler", 1, "no value for sky, though wheeler has one"),
        ("road 0\ncar 1", 1, "'road 0' ends in a number, as every line does, .*`0 road`"),
        ("name,r,g,b\nroad,1,2,3\ncar,1,2", 3, "'car,1,2' does not fit the columns name, r, g, b of the first line"),
        ("name,r,g,b\nroad,1,2,x", 2, "does not fit"),
        ("name,r,g\nroad,1,2", 1, "the columns are name, r, g, expected a name, and"),
        ("supercategory,name,id\na,road,1", 1, "the columns are supercategory, name, id"),
    ],
)
def test_what_is_not_understood_is_refused_by_its_line(tmp_path: Path, text: str, line: int, message: str) -> None:
    (tmp_path / "classes.txt").write_text(text)
    with pytest.raises(DataError, match=rf"classes\.txt, line {line}: .*{message}"):
        read_class_list(tmp_path)


def test_files_of_other_programs_have_their_own_names(tmp_path: Path) -> None:
    (tmp_path / "labelmap.txt").write_text("road:128,64,128::\nsky:1,2,3::\n")
    assert [item.name for item in read_class_list(tmp_path).classes] == ["road", "sky"]
    (tmp_path / "classes.txt").write_text("a\nb\n")  # one's own comes first
    assert [item.name for item in read_class_list(tmp_path).classes] == ["a", "b"]


def test_names_of_classes(tmp_path: Path) -> None:
    (tmp_path / "names.txt").write_text("sky\n\n traffic light 1 2 3\n")
    assert read_class_names(tmp_path / "names.txt") == ("sky", "traffic light")
    (tmp_path / "names.txt").write_text("Pixel Value, Class\n1, road\n0, sky")
    assert read_class_names(tmp_path / "names.txt") == ("sky", "road")
    (tmp_path / "names.txt").write_text("0 road\n2 sky")
    with pytest.raises(DataError, match=r"the values are 0, 2, expected 0, 1, 2 and so on"):
        read_class_names(tmp_path / "names.txt")
    (tmp_path / "twice.txt").write_text("sky\nsky\n")
    with pytest.raises(DataError, match="each once"):
        read_class_names(tmp_path / "twice.txt")
    with pytest.raises(FileNotFoundError, match="no file of class names"):
        read_class_names(tmp_path / "none.txt")
