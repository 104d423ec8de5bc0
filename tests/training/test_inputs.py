"""A run that is resumed is taught by the same teacher as before."""

import shutil
from dataclasses import replace
from pathlib import Path

import pytest
from steps import Crash, crash_at
from tiny import SMALL

from fakd.data import DATASETS
from fakd.models import open_model, save_model
from fakd.training import distill, train
from fakd.training.run_folder import RunFolder, prepare_folder
from fakd.training.teacher import load_teacher, run_inputs


@pytest.fixture
def teacher(teacher_run: Path, tmp_path: Path) -> Path:
    """A teacher that a test may change."""
    return Path(shutil.copy(teacher_run / "student.safetensors", tmp_path / "teacher.safetensors"))


@pytest.fixture
def crash(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """Let runs fail at the fourth step, behind a checkpoint."""
    crash_at(monkeypatch, 3, once=False)
    return monkeypatch


def change(teacher: Path) -> None:
    network, notes = open_model(str(teacher))
    network.classifier.bias.data += 1
    save_model(network, teacher, {name: text for name, text in notes.items() if name != "fakd.model"})


def test_other_weights_under_the_same_name(distill_config, teacher, crash, tmp_path) -> None:
    config = distill_config(method="cwd", teacher=teacher)
    before = teacher.read_bytes()
    with pytest.raises(Crash):
        distill(config)
    change(teacher)
    kept = {path: path.read_bytes() for path in (tmp_path / "run").rglob("*") if path.is_file()}
    config.resume = True
    with pytest.raises(ValueError, match=r"run cannot be resumed: the teacher's weights, .* have changed since it was"):
        distill(config)
    assert {path: path.read_bytes() for path in (tmp_path / "run").rglob("*") if path.is_file()} == kept
    teacher.write_bytes(before)
    crash.undo()
    crash.setitem(DATASETS, "toy-scenes", SMALL)
    results = distill(config)
    assert results is not None
    assert results["steps"] == 4


@pytest.mark.parametrize("content", [None, "", "[1]", "{}"])
def test_runs_that_do_not_say(content: str | None, distill_config, teacher, crash, tmp_path) -> None:
    config = distill_config(method="cwd", teacher=teacher)
    with pytest.raises(Crash):
        distill(config)
    inputs = RunFolder(config.output).inputs
    inputs.unlink()
    if content is not None:
        inputs.write_text(content)
    change(teacher)
    config.resume = True
    with pytest.raises(Crash):  # it went on
        distill(config)
    assert inputs.read_text() != content


def test_another_class_map(distill_config, teacher_run, tmp_path) -> None:
    path = tmp_path / "map.yaml"

    def inputs() -> dict[str, str]:
        config = distill_config(class_map=path)
        return run_inputs(config, load_teacher(config.teacher, config))

    names = DATASETS["toy-scenes"].classes
    lines = [f"{name}: {name}" for name in names]
    path.write_text("\n".join(lines))
    before = inputs()
    path.write_text("# the same\n" + "\n".join(lines))
    assert inputs() == before
    path.write_text("\n".join([f"{names[0]}: {names[1]}", f"{names[1]}: {names[0]}", *lines[2:]]))
    after = inputs()
    assert after["teacher"] != before["teacher"]
    assert after["classes"] == before["classes"]
    config = distill_config(class_map=path)
    folder = prepare_folder(config, before)
    folder.results.touch()
    config.resume = True
    with pytest.raises(ValueError, match="or what the class map makes of its classes, have changed"):
        prepare_folder(config, after)


def test_other_classes_of_the_data_set(train_config, crash, tmp_path) -> None:
    with pytest.raises(Crash):
        train(train_config())
    crash.setitem(DATASETS, "toy-scenes", replace(SMALL, classes=tuple(reversed(SMALL.classes))))
    with pytest.raises(ValueError, match="cannot be resumed: the classes of the data set have changed"):
        train(train_config(resume=True))
