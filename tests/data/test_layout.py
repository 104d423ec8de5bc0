from pathlib import Path

import pytest
from published_files import write_image

from fakd.data.layout import files_by_name, locate_root, read_names
from fakd.data.spec import DataError


def test_names_in_the_forms_that_lists_have(tmp_path: Path) -> None:
    path = tmp_path / "val.txt"
    path.write_bytes(
        b"\xef\xbb\xbf2007_000033\r\n\r\n"
        b"  2007_000042  \r\n"
        b"/JPEGImages/2007_000061.jpg /SegmentationClassAug/2007_000061.png\r\n"
        b"2007_000123  1\r\n"
        b"a.b.JPG\r\n"
        b"c.d"
    )
    assert read_names(path) == ["2007_000033", "2007_000042", "2007_000061", "2007_000123", "a.b", "c.d"]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", r"val\.txt: the list is empty"),
        (b"\n \n", r"val\.txt: the list is empty"),
        (b"a\nb c d\n", r"line 2 'b c d': expected one name a line"),
        (b"a\nb\na\nb.jpg\n", r"2 names come more than once \(a, b\)"),
        (b"\xff\xfe\x00", r"val\.txt: not readable as a list of names"),
    ],
)
def test_lists_that_are_none(tmp_path: Path, content: bytes, message: str) -> None:
    (tmp_path / "val.txt").write_bytes(content)
    with pytest.raises(DataError, match=message):
        read_names(tmp_path / "val.txt")


def test_folder_in_place_of_a_list(tmp_path: Path) -> None:
    (tmp_path / "val.txt").mkdir()
    with pytest.raises(DataError, match=r"val\.txt: no such file"):
        read_names(tmp_path / "val.txt")


def test_files_by_name(tmp_path: Path) -> None:
    for name in ("b.PNG", "a.png", "._a.png"):
        write_image(tmp_path / name)
    (tmp_path / "c.txt").write_text("")
    assert files_by_name(tmp_path, (".png",)) == {"a": tmp_path / "a.png", "b": tmp_path / "b.PNG"}
    assert files_by_name(tmp_path / "gone", (".png",)) == {}


def test_root_is_taken_before_what_lies_in_it(tmp_path: Path) -> None:
    for place in ("", "inner/", "inner/inner/"):
        (tmp_path / place / "images").mkdir(parents=True, exist_ok=True)
    assert locate_root("x", tmp_path, ["images"], ["inner"], "Do this.") == tmp_path
    assert locate_root("x", tmp_path / "inner", ["images"], ["inner"], "Do this.") == tmp_path / "inner"
    with pytest.raises(DataError, match=r"masks/ missing; for x .* Do this\."):
        locate_root("x", tmp_path, ["images", "masks"], ["inner"], "Do this.")


def test_home_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "data" / "inner" / "images").mkdir(parents=True)
    found = locate_root("x", Path("~/data"), ["images"], ["inner"], "Do this.")
    assert found == tmp_path / "data" / "inner"
