from pathlib import Path

import pytest
import yaml

from fakd.data.user.class_file import read_class_list
from fakd.data.user.proposal import proposed_classes


@pytest.mark.parametrize(
    ("text", "found", "expected"),
    [
        ("[a, b]", {0, 1}, None),
        ("[a, b]", {0, 1, 255}, None),
        ("[a, b]", {0, 255}, [{"name": "a", "value": 0}, {"name": "b", "value": 255}]),
        ("[a, b]", {0, 1, 7}, [{"name": "a", "value": 0}, {"name": "b", "value": 1}, {"name": "class 7", "value": 7}]),
        ("[a, b]", {*range(300)}, None),
        (
            "classes: ['no': '#000001', b: '#000002']\nignore: '#000003'",
            {0, (0, 0, 2), (0, 0, 3), (255, 0, 0)},
            [
                {"name": "no", "value": 0, "color": "#000001"},
                {"name": "b", "value": 1, "color": "#000002"},
                {"name": "class 2", "value": 2, "color": "#ff0000"},
            ],
        ),
    ],
)
def test_proposals(tmp_path: Path, text: str, found: set, expected: list | None) -> None:
    (tmp_path / "classes.yaml").write_text(text)
    classes = read_class_list(tmp_path)
    proposed = proposed_classes(classes, found)
    if expected is None:
        assert proposed is None
        return
    assert proposed is not None
    assert yaml.safe_load(proposed)["classes"] == expected
    (tmp_path / "classes.yaml").write_text(proposed)
    again = read_class_list(tmp_path)
    assert len(again.classes) == len(expected)
    assert again.ignored_colours == classes.ignored_colours
