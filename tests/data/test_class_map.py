from pathlib import Path

import pytest

from fakd.data import DataError
from fakd.data.class_map import read_class_map

OURS = ("road", "human", "sky")
THEIRS = ("sky", "person", "rider", "road", "dog")


def read(tmp_path: Path, text: str, names: tuple[str, ...] | None = THEIRS) -> tuple[tuple[int, ...], ...]:
    (tmp_path / "map.yaml").write_text(text)
    return read_class_map(tmp_path / "map.yaml", OURS, names, len(THEIRS))


def test_many_to_one_by_name_and_by_index(tmp_path: Path) -> None:
    expected = ((3,), (1, 2), (0,))
    assert read(tmp_path, "{person: human, rider: human, dog: null}") == expected  # sky and road by their names
    assert read(tmp_path, "{1: 1, rider: human, 4: null}") == expected
    assert read(tmp_path, "{0: sky, 1: human, 2: human, 3: 0, 4: null}", names=None) == expected
    assert read(tmp_path, "{person: human, rider: human, dog: road}") == ((3, 4), (1, 2), (0,))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{person: human, cat: human}", "the teacher has no class 'cat'"),
        ("{person: animal, dog: null, rider: null}", "the student has no class 'animal'"),
        ("{person: human}", "nothing is said of the teacher's classes rider, dog: write null for those to drop"),
        ("{person: null, rider: null, dog: null}", "no class of the teacher belongs to the student's human"),
        ("{person: human, 1: road, rider: null, dog: null}", "class 1 is named twice"),
        ("{true: human, rider: human, dog: null, person: human}", "the teacher has no class True"),
        ("{9: human}", "the teacher has no class 9"),
        ("[person]", "expected lines as 'person: human'"),
        ("{a: &a [*a]}", "not readable as YAML"),
    ],
)
def test_what_does_not_fit_is_listed(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(DataError, match=message.replace("(", r"\(")):
        read(tmp_path, text)


def test_names_that_are_not_known(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="its names are not known: write their indices, or give --teacher-classes"):
        read(tmp_path, "{person: human}", names=None)
    with pytest.raises(DataError, match="4 names of classes, but the teacher scores 5"):
        read(tmp_path, "{person: human}", names=THEIRS[:4])
    with pytest.raises(FileNotFoundError, match="no class map at"):
        read_class_map(tmp_path / "none.yaml", OURS, THEIRS, 5)
