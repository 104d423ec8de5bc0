"""What `fakd inspect` prints and returns."""

from dataclasses import asdict
from pathlib import Path

import pytest

from fakd.commands.inspect import InspectConfig, inspect_networks
from fakd.models import create_model, load_model
from fakd.models.cost import measure_cost

NETWORK = "pspnet/test_resnet.r160_in1k"


def rows_of(printed: str) -> dict[str, list[str]]:
    lines = [[cell.strip() for cell in line.split("│")[1:-1]] for line in printed.splitlines()]
    return {cells[0]: cells[1:] for cells in lines if cells}


def test_table_of_one_network(capsys) -> None:
    config = InspectConfig(NETWORK, num_classes=7, head_channels=24, crop_size=(65, 97), batch_size=2)
    figures = inspect_networks(config)
    cost = measure_cost(create_model(NETWORK, num_classes=7, channels=24), (65, 97), 2)
    assert figures == {"network": asdict(cost)}
    printed = capsys.readouterr().out
    assert rows_of(printed) == {
        "parameters": [f"{cost.parameters:,}"],
        "without auxiliary head": [f"{cost.inference_parameters:,}"],
        "GMACs at 65x97": [f"{cost.macs / 1e9:.2f}"],
        "stride of the logits": ["8"],
        "logits (C, h, w)": ["(7, 9, 13)"],
        "features (A, h, w)": ["(24, 9, 13)"],
        "auxiliary logits": ["(7, 9, 13)"],
        "classifier": ["1x1, 24 -> 7"],
        "memory, inference of 1 image": [f"{cost.inference_memory / 1e6:.1f} MB"],
        "memory, training step of 2 images": [f"{cost.training_memory / 1e6:.1f} MB"],
    }
    assert "term" not in printed.split("└")[1].replace("terms come on top", "")


def test_student_and_teacher_from_a_file(teacher_run: Path, capsys) -> None:
    figures = inspect_networks(InspectConfig(NETWORK, str(teacher_run), crop_size=(64, 96), head_channels=16))
    assert list(figures) == ["student", "teacher"]
    assert figures["teacher"] == asdict(measure_cost(load_model(str(teacher_run))[0], (64, 96)))
    assert [figures[role]["logits_shape"] for role in figures] == [(12, 8, 12)] * 2  # classes as the teacher's
    assert [figures[role]["features_shape"][0] for role in figures] == [16, 8]
    printed = capsys.readouterr().out
    assert len(rows_of(printed)["parameters"]) == 2
    assert "fakd attaches to the student's logits before upsampling\n" in printed
    assert "on random images and labels of 64x96" in printed


def test_large_crops_are_measured_whole_but_taught_small(teacher_run: Path, capsys) -> None:
    # computing this one would take minutes and 40 GB
    config = InspectConfig(str(teacher_run), str(teacher_run), method="cwd", crop_size=(4096, 100), batch_size=64)
    assert inspect_networks(config)["student"]["training_memory"] > 10e9
    printed = capsys.readouterr().out
    assert rows_of(printed)["memory, training step of 64 images"][0].endswith(" GB")
    assert "term cwd: " in printed
    assert "on random images and labels of 128x100" in printed


def test_strides_that_differ(teacher_run: Path, capsys) -> None:
    inspect_networks(InspectConfig(NETWORK, str(teacher_run), output_stride=16, crop_size=(64, 64), batch_size=2))
    printed = capsys.readouterr().out
    assert rows_of(printed)["stride of the logits"] == ["16", "8"]
    assert "attaches to the student's logits before upsampling, the teacher's resized to them" in printed


def test_default_output_stride_is_the_networks_own() -> None:
    assert inspect_networks(InspectConfig("hrnet-w18s", batch_size=2))["network"]["stride"] == 4


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"batch_size": 0}, "at least 1"),
        ({"crop_size": (0, 64)}, "at least 1"),
        ({"method": "kd"}, "no method 'kd'"),
        ({"network": "pspnt"}, "unknown network"),
    ],
)
def test_mistakes(changes: dict[str, object], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        inspect_networks(InspectConfig(**{"network": NETWORK, "head_channels": 8, **changes}))
