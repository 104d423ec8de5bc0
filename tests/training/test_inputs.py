"""A run that is resumed is taught by the same teacher as before."""

import os
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
from folders import write_folder, write_mask
from steps import Crash, crash_at
from tiny import NETWORK, SMALL

from fakd.data import DATASETS
from fakd.models import open_model, save_model
from fakd.training import TrainConfig, distill, train
from fakd.training.resuming import check_same_inputs, prepare_folder
from fakd.training.run_data import data_inputs, open_data
from fakd.training.run_folder import RunFolder
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
    prepare_folder(config, before)
    config.resume = True
    with pytest.raises(ValueError, match="or what the class map makes of its classes, have changed"):
        check_same_inputs(config, after)


def test_other_classes_of_the_data_set(train_config, crash, tmp_path) -> None:
    with pytest.raises(Crash):
        train(train_config())
    crash.setitem(DATASETS, "toy-scenes", replace(SMALL, classes=tuple(reversed(SMALL.classes))))
    with pytest.raises(ValueError, match="cannot be resumed: the classes of the data set have changed"):
        train(train_config(resume=True))


@pytest.fixture
def begun(tmp_path: Path) -> TrainConfig:
    """A run that was begun on six images, with three to validate, and is to be resumed."""
    write_folder(tmp_path / "mine", list("abcdefghi"))
    (tmp_path / "mine/val.txt").write_text("g\nh\ni\n")
    own = {"data_root": tmp_path / "mine", "network": NETWORK, "head_channels": 8, "max_steps": 4, "accelerator": "cpu"}
    config = TrainConfig(**own, output=tmp_path / "run")
    prepare_folder(config, run_inputs(config) | data_inputs(open_data(config)))
    config.resume = True
    return config


def test_images_that_came_are_refused_before_any_is_opened(begun, tmp_path, monkeypatch) -> None:
    monkeypatch.setattr("fakd.training.run.look_through", lambda data, config: pytest.fail("files are opened"))
    (tmp_path / "run/checkpoints").mkdir()
    (tmp_path / "run/checkpoints/last.ckpt").touch()
    write_folder(tmp_path / "mine", list("abcdefghijkl"))
    with pytest.raises(ValueError, match="have changed since it was begun: train had 6 images and has 9") as refused:
        train(begun)
    assert all(option in str(refused.value) for option in ("--allow-changed-data", "--overwrite", "--output"))


def test_masks_that_were_drawn_anew_are_told(begun, tmp_path, capsys) -> None:
    check_same_inputs(begun, data_inputs(open_data(begun)))
    for file in (tmp_path / "mine").rglob("*.png"):  # as a copy has it
        os.utime(file, (1, 1))
    check_same_inputs(begun, data_inputs(open_data(begun)))
    write_mask(tmp_path / "mine/masks/h.png", size=(48, 40))
    with pytest.raises(ValueError, match="since it was begun: val has other files"):
        check_same_inputs(begun, data_inputs(open_data(begun)))
    begun.allow_changed_data = True
    capsys.readouterr()
    check_same_inputs(begun, data_inputs(open_data(begun)))
    assert "changed since the run was begun: val has other files" in capsys.readouterr().out
    with pytest.raises(ValueError, match="cannot be resumed: the classes of the data set have changed"):
        check_same_inputs(begun, {"classes": "others"})


def test_a_length_that_follows_from_the_images_is_explained(tmp_path) -> None:
    root, rest = write_folder(tmp_path / "mine", list("abcdefghi")), {"output": tmp_path / "run", "batch_size": 1}
    (root / "val.txt").write_text("g\nh\ni\n")
    config = TrainConfig(data_root=root, **rest)
    folder = prepare_folder(config)
    folder.results.touch()
    write_folder(root, [f"a{number}" for number in range(40)])
    with pytest.raises(ValueError, match=f"Have images come or gone since.*--max-steps {config.max_steps} too"):
        prepare_folder(TrainConfig(data_root=root, **rest, resume=True))
