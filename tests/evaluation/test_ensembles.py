"""How several networks are named, what their classes are, and how much each counts."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from fakd.cli import parse
from fakd.data.class_names import Classes
from fakd.evaluation.ensembles import TeacherClassesConfig, as_given, as_one, teacher_title
from fakd.models import ScoringTeacher

DISTILL = ["distill", "--dataset", "toy-scenes", "--method", "cwd"]


def options(*words: str) -> Any:
    return parse([*DISTILL, *words])[1]


def test_one_teacher_is_a_name_and_several_are_a_list(tmp_path: Path) -> None:
    assert options("--teacher", "toy-scenes").teacher == "toy-scenes"
    several = options("--teacher", "toy-scenes", "--teacher", "runs/b", "--teacher-weights", "2,1")
    assert (several.teacher, several.teacher_weights) == (["toy-scenes", "runs/b"], (2.0, 1.0))
    (tmp_path / "run.yaml").write_text(
        "dataset: toy-scenes\nteacher: [toy-scenes, runs/b]\nclass_map: [null, b.yaml]\nmethod: cwd\n"
    )
    read = parse(["distill", "--config", str(tmp_path / "run.yaml")])[1]
    assert (read.teacher, read.class_map) == (["toy-scenes", "runs/b"], [None, Path("b.yaml")])
    typed = parse(["distill", "--config", str(tmp_path / "run.yaml"), "--teacher", "c", "--class-map", "null"])[1]
    assert (typed.teacher, typed.class_map) == ("c", None)
    assert teacher_title(read.teacher) == "toy-scenes + runs/b"


def test_class_maps_in_the_order_of_the_teachers() -> None:
    words = ["--teacher", "a", "--teacher", "b", "--class-map", "none", "--class-map", "b.yaml"]
    config = options(*words, "--teacher-classes", "a.txt", "--teacher-classes", "none")
    assert (config.class_map, config.teacher_classes) == ([None, Path("b.yaml")], [Path("a.txt"), None])
    assert [config.mapped(place) for place in (0, 1)] == [False, True]
    assert options("--teacher", "a", "--class-map", "a.yaml").class_map == Path("a.yaml")
    assert options(*words[:4], "--class-map", "none", "--class-map", "none").class_map is None
    # as config.yaml keeps them, and a process of a grid reads them
    kept = {name: config.to_dict()[name] for name in ("dataset", "teacher", "class_map", "method")}
    again = parse(["distill", "--config", json.dumps(kept)])[1]
    assert (again.teacher, again.class_map) == (config.teacher, config.class_map)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--teacher", "a", "--teacher", "a"], "teacher a is named twice"),
        (["--teacher", "a", "--teacher", "b", "--class-map", "a.yaml"], "there are 2 teachers, and 1 of --class-map"),
        (["--teacher", "a", "--teacher-weights", "2"], "--teacher-weights are for several teachers, and there is one"),
        (["--teacher", "a", "--teacher", "b", "--teacher-weights", "2"], "2 numbers above 0.*as --teacher-weights 2,1"),
        (["--teacher", "a", "--teacher", "b", "--teacher-weights", "2,0"], "2 numbers above 0.*got 2,0"),
    ],
)
def test_what_does_not_go_together(words: list[str], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        options(*words)


@pytest.mark.parametrize("method", ["at", "fitnet", "skds", "ifvd", "cirkd", "cwd-features"])
def test_methods_that_need_features_refuse_them_by_name(method: str) -> None:
    with pytest.raises(ValueError, match=rf"method '{method}' learns .* 2 teachers have none in common \(a \+ b\)"):
        parse(["distill", "--dataset", "toy-scenes", "--method", method, "--teacher", "a", "--teacher", "b"])
    for teacher in ("a.onnx", "torchscript:a.pt"):
        with pytest.raises(ValueError, match=rf"method '{method}' learns .* {teacher} gives scores alone"):
            parse(["distill", "--dataset", "toy-scenes", "--method", method, "--teacher", teacher])


def test_no_teacher_at_all() -> None:
    for nothing in ([], ["a", ""]):
        with pytest.raises(ValueError, match="must be one or more names of networks"):
            as_given(nothing)


def test_networks_are_brought_to_the_same_classes(tmp_path: Path) -> None:
    """One in another order, one mapped, one whose names a file gives."""
    ours = Classes(2, ("road", "sky"))
    (tmp_path / "map.yaml").write_text("{Street: road, Path: road, Air: sky}")
    (tmp_path / "names.txt").write_text("Sky\nRoad\n")
    scores = torch.randn(1, 3, 2, 2)
    notes = [{"classes": json.dumps(names)} for names in (["sky", "road"], ["street", "path", "air"])]
    networks = [ScoringTeacher(lambda _: scores[:, :2], 2), ScoringTeacher(lambda _: scores, 3)]
    opened = [(networks[0], notes[0]), (networks[1], notes[1]), (networks[0], {})]
    config = TeacherClassesConfig(
        class_map=[None, tmp_path / "map.yaml", None],
        teacher_classes=[None, None, tmp_path / "names.txt"],
        teacher_weights=(1, 2, 1),
    )
    found = as_one(["a", "b", "c"], opened, config, "streets", ours)(torch.rand(1, 3, 4, 4)).logits
    swapped = scores[:, [1, 0]].double().softmax(1)
    whole = scores.double().softmax(1)
    united = torch.stack([whole[:, 0] + whole[:, 1], whole[:, 2]], 1)
    torch.testing.assert_close(found.exp().double(), swapped / 2 + united / 2, rtol=1e-5, atol=1e-6)

    alone = as_one(["a"], [(networks[0], {})], TeacherClassesConfig(), "streets", ours)
    assert alone is networks[0]
    with pytest.raises(ValueError, match=r"b scores 3 classes, but streets has 2\. Say how\."):
        as_one(["a", "b"], opened[:2], TeacherClassesConfig(), "streets", ours, "Say how.")
    names = TeacherClassesConfig(teacher_classes=tmp_path / "names.txt")
    with pytest.raises(ValueError, match=r"names\.txt has 2 names of classes, but b scores 3"):
        as_one(["b"], opened[1:2], names, "streets", Classes(3))
