"""What a config refuses, resolves and writes down."""

from pathlib import Path

import pytest
import yaml

from fakd.training import DistillConfig, TrainConfig


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"dataset": "ade"}, r"no data set 'ade'; choose one of .*camvid"),
        ({"dataset": "camvid"}, "'camvid' is read from disk: say where it is with --data-root FOLDER"),
        ({"max_steps": 0}, "max_steps must be 1 or more, got 0"),
        ({"batch_size": 0}, "batch_size must be 1 or more, got 0"),
        ({"learning_rate": -1}, "learning_rate must be"),
        ({"learning_rate": 0}, "learning_rate must be above 0, got 0"),
        ({"momentum": -0.1}, "momentum must be 0 or more, got -0.1"),
        ({"weight_decay": -1}, "weight_decay must be 0 or more"),
        ({"aux_weight": -1}, "aux_weight must be 0 or more"),
        ({"workers": -1}, "workers must be 0 or more"),
        ({"devices": 0}, "devices must be 1 or more"),
        ({"num_nodes": 0}, "num_nodes must be 1 or more"),
        ({"batch_size": 6, "devices": 2, "num_nodes": 2}, "batch_size 6 does not divide by 4 devices"),
        ({"batch_size": 3, "devices": 2}, "batch_size 3 does not divide by 2 devices"),
        ({"eval_every": 0}, "eval_every must be 1 or more"),
        ({"checkpoint_every": 0}, "checkpoint_every must be 1 or more"),
        ({"log_every": -5}, "log_every must be 1 or more, got -5"),
        ({"head_channels": 0}, "head_channels must be 1 or more"),
        ({"seed": -1}, "seed must be 0 or more"),
        ({"dropout": 1.0}, "dropout must be at least 0 and below 1, got 1.0"),
        ({"dropout": -0.1}, "dropout must be at least 0 and below 1, got -0.1"),
        ({"scale": (0.0, 1.0)}, "scale must be two factors above 0, the smaller first"),
        ({"scale": (2.0, 1.0)}, "scale must be two factors above 0, the smaller first"),
        ({"crop_size": (0, 32)}, r"crop_size must be a height and a width in pixels, got \(0, 32\)"),
        ({"base_size": (32, -1)}, "base_size must be a height and a width in pixels"),
        ({"resume": True, "overwrite": True}, "resume and overwrite contradict each other"),
    ],
)
def test_wrong_values_are_named(changes, message) -> None:
    with pytest.raises(ValueError, match=message):
        TrainConfig(**changes)
    with pytest.raises(ValueError, match=message):
        DistillConfig(teacher=Path("t"), **changes)


def test_methods_and_their_options_are_checked() -> None:
    with pytest.raises(ValueError, match="there is no method 'kd'; the methods are none, pixel"):
        DistillConfig(teacher=Path("t"), method="kd")
    with pytest.raises(ValueError, match="'cwd' has no option strength; it has weight, temperature"):
        DistillConfig(teacher=Path("t"), method="cwd", options={"strength": 1})


def test_options_of_a_teacher_cache_without_one() -> None:
    assert DistillConfig(teacher="t", teacher_cache_format="int8", teacher_views=8).teacher_cache is None
    with pytest.raises(ValueError, match="teacher_cache_format is for a teacher cache: give --teacher-cache too"):
        DistillConfig(teacher="t", teacher_cache_format="top8")
    with pytest.raises(ValueError, match="teacher_views is for a teacher cache: give --teacher-cache too"):
        DistillConfig(teacher="t", teacher_views=16)


@pytest.mark.parametrize("cache", [None, "cache"])
def test_a_teacher_cache_without_views(cache: str | None) -> None:
    with pytest.raises(ValueError, match="teacher_views must be 1 or more, got 0"):
        DistillConfig(teacher="t", method="cwd", teacher_cache=cache, teacher_views=0)


def test_a_teacher_is_never_inside_the_folder_that_is_written(tmp_path) -> None:
    for teacher in (tmp_path / "run", tmp_path / "run/student.safetensors"):
        with pytest.raises(ValueError, match="holds the teacher"):
            DistillConfig(teacher=teacher, output=tmp_path / "run", overwrite=True)
        with pytest.raises(ValueError, match="holds the init"):
            TrainConfig(init=teacher, output=tmp_path / "run", overwrite=True)
    DistillConfig(teacher=tmp_path / "runs/teacher", output=tmp_path / "runs/student")


@pytest.mark.parametrize(("steps", "expected"), [(40_000, (800, 50)), (100, (2, 1)), (3, (1, 1))])
def test_intervals_follow_the_length_of_the_run(steps, expected) -> None:
    config = TrainConfig(max_steps=steps)
    assert (config.checkpoint_every, config.log_every) == expected
    assert TrainConfig(max_steps=steps, eval_every=7).eval_every == 7


def test_default_folders_tell_runs_apart() -> None:
    assert TrainConfig(network="pspnet/resnet18", seed=3).output == Path("runs/toy-scenes/pspnet-resnet18-seed3")
    config = DistillConfig(teacher=Path("t"), student="pspnet/resnet18", method="cwd")
    assert config.output == Path("runs/toy-scenes/pspnet-resnet18-cwd-seed0")


def test_strings_become_paths_and_plain_values_survive_yaml(tmp_path) -> None:
    config = DistillConfig(
        teacher="a/b",
        dataset="camvid",
        data_root="c",
        output=str(tmp_path),
        crop_size=(32, 48),
        options={"strength": 0.5, "bound": "tight"},
    )
    assert (config.teacher, config.data_root, config.output) == ("a/b", Path("c"), tmp_path)
    plain = config.to_dict()
    assert plain["crop_size"] == [32, 48]
    assert plain["teacher"] == "a/b"
    assert yaml.safe_load(yaml.safe_dump(plain)) == plain
    assert DistillConfig(**plain).to_dict() == plain
