"""Wherever two lists of classes meet: a network with its classes in another order, and one with others."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from fakd.analysis.groups import group_runs
from fakd.analysis.report.networks import open_networks
from fakd.analysis.runs import read_run
from fakd.commands.convert import ConvertConfig, convert
from fakd.commands.evaluate import EvaluateConfig, evaluate
from fakd.commands.export import ExportConfig, export
from fakd.data import DATASETS
from fakd.export.int8 import Calibration, score_file
from fakd.models import OnnxNetwork, load_model, save_model
from fakd.models.class_rows import class_rows
from fakd.serve.pair import PairConfig, open_pair
from fakd.training import DistillConfig, TrainConfig, distill
from fakd.training.run import create_student

pytestmark = pytest.mark.usefixtures("few_scenes")
HOW: dict[str, Any] = {"workers": 0, "device": "cpu"}
SAID = "in another order, which is taken into account"


@pytest.fixture(scope="module")
def reversed_network(teacher_run: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The trained network with its classes from the last to the first, their names in capitals and hyphened."""
    path = tmp_path_factory.mktemp("classes") / "reversed.safetensors"
    network, notes = load_model(teacher_run)
    state = network.state_dict()
    network.load_state_dict(state | {key: state[key].flip(0) for key in class_rows(network)})
    names = [name.upper().replace(" ", "-") for name in json.loads(notes["classes"])[::-1]]
    palette = json.loads(notes["palette"])[::-1]
    save_model(network, path, {**notes, "classes": json.dumps(names), "palette": json.dumps(palette)})
    return path


@pytest.fixture(scope="module")
def strange_network(teacher_run: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The trained network with one class by the name of another thing."""
    path = tmp_path_factory.mktemp("classes") / "strange.safetensors"
    network, notes = load_model(teacher_run)
    names = ["lorry", *json.loads(notes["classes"])[1:]]
    save_model(network, path, {**notes, "classes": json.dumps(names)})
    return path


def refused(what: str) -> Any:
    return pytest.raises(ValueError, match=rf"(?s)strange.safetensors scores 12 classes, .* others: lorry.*{what}")


def test_evaluate(
    teacher_run: Path,
    reversed_network: Path,
    strange_network: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    expected = evaluate(EvaluateConfig(str(teacher_run), **HOW))
    assert SAID not in capsys.readouterr().out
    assert evaluate(EvaluateConfig(str(reversed_network), **HOW))["IoU"] == expected["IoU"]
    assert SAID in capsys.readouterr().out
    with refused("say by --class-map"):
        evaluate(EvaluateConfig(str(strange_network), **HOW))
    (tmp_path / "map.yaml").write_text(f"lorry: {DATASETS['toy-scenes'].classes[0]}")
    mapped = EvaluateConfig(str(strange_network), class_map=tmp_path / "map.yaml", **HOW)
    assert evaluate(mapped)["IoU"] == expected["IoU"]


def test_a_teacher(
    distill_config: Callable[..., DistillConfig],
    teacher_run: Path,
    reversed_network: Path,
    strange_network: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """And then the report on its student, whose teacher is shown beside it."""
    found = distill(distill_config(teacher=reversed_network, method="cwd", max_steps=1, eval_every=1))
    assert found is not None
    assert found["teacher"]["IoU"] == evaluate(EvaluateConfig(str(teacher_run), **HOW))["IoU"]
    assert f"the teacher {reversed_network} has those of toy-scenes {SAID}" in capsys.readouterr().out
    with refused("by --class-map which of its classes belong together"):
        distill(distill_config(teacher=strange_network, output=tmp_path / "other"))

    run = read_run(tmp_path / "run")
    spec = DATASETS["toy-scenes"]
    networks, notes = open_networks(group_runs([run]), {str(run.folder): None}, spec, torch.device("cpu"))
    assert notes == []
    image = torch.randint(256, (1, 3, 48, 72), dtype=torch.uint8)
    shown = next(network for layer, network in networks if layer.kind == "teacher")
    assert shown.classes == spec.classes
    with torch.no_grad():
        scores = load_model(teacher_run)[0](image / 255).logits
    labels = torch.nn.functional.interpolate(scores, (48, 72), mode="bilinear").argmax(1)
    assert (shown.labels(image, (48, 72)) == labels).double().mean() > 0.999


def test_a_report_says_which_network_has_others(
    distill_config: Callable[..., DistillConfig], strange_network: Path, tmp_path: Path
) -> None:
    distill(distill_config(method="cwd", max_steps=1, eval_every=1))
    run = read_run(tmp_path / "run")
    run.config["teacher"] = str(strange_network)
    spec = DATASETS["toy-scenes"]
    _, notes = open_networks(group_runs([run]), {str(run.folder): None}, spec, torch.device("cpu"))
    assert len(notes) == 1
    assert "could not be read; the truth is shown in its place: it scores 12 classes" in notes[0]
    assert "others: lorry in place of" in notes[0]


def test_serve(teacher_run: Path, reversed_network: Path, strange_network: Path) -> None:
    student, teacher = open_pair(PairConfig(str(teacher_run), str(reversed_network), device="cpu"))
    assert teacher is not None
    images = torch.randint(256, (1, 3, 48, 72), dtype=torch.uint8)
    assert torch.equal(student.labels(images, (48, 72)), teacher.labels(images, (48, 72)))
    assert (teacher.classes, teacher.palette) == (student.classes, student.palette)
    with refused("say by --class-map"):
        open_pair(PairConfig(str(teacher_run), str(strange_network), device="cpu"))


def test_files_keep_the_network_s_own_order(reversed_network: Path, strange_network: Path, tmp_path: Path) -> None:
    spec = DATASETS["toy-scenes"]
    export(ExportConfig(str(reversed_network), tmp_path / "a.safetensors", dataset="toy-scenes"))
    convert(ConvertConfig(str(reversed_network), tmp_path / "b.safetensors", dataset="toy-scenes"))
    for name in ("a", "b"):
        _, notes = load_model(tmp_path / f"{name}.safetensors")
        assert json.loads(notes["classes"]) == list(spec.classes[::-1])
        assert json.loads(notes["palette"]) == [list(colour) for colour in spec.palette[::-1]]
    with refused("Leave out --dataset to keep"):
        export(ExportConfig(str(strange_network), tmp_path / "c.safetensors", dataset="toy-scenes"))
    with refused("Leave out --dataset to keep"):
        convert(ConvertConfig(str(strange_network), tmp_path / "d.safetensors", dataset="toy-scenes"))


@pytest.mark.parametrize("argmax", [False, True])
def test_exported_files_and_their_eight_bits(
    argmax: bool, teacher_run: Path, reversed_network: Path, strange_network: Path, tmp_path: Path
) -> None:
    path = tmp_path / "a.onnx"
    config = ExportConfig(str(reversed_network), path, argmax=argmax, workers=0)
    export(config)
    expected = evaluate(EvaluateConfig(str(teacher_run), **HOW))
    assert evaluate(EvaluateConfig(str(path), **HOW))["IoU"] == pytest.approx(expected["IoU"], abs=0.2)
    notes = OnnxNetwork(path).notes
    calibration = Calibration.of(config, 12, notes)
    assert score_file(path, calibration) == pytest.approx(expected["mIoU"], abs=0.2)
    with refused("Name by --dataset"):
        export(ExportConfig(str(strange_network), tmp_path / "b.onnx", int8=True, workers=0))


def test_weights_to_start_from(
    train_config: Callable[..., TrainConfig],
    teacher_run: Path,
    reversed_network: Path,
    strange_network: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Brought to our order; of other classes, all but the classifier."""
    expected = load_model(teacher_run)[0].state_dict()
    found = create_student(train_config(init=str(reversed_network))).state_dict()
    assert all(torch.equal(found[key], tensor) for key, tensor in expected.items())
    assert SAID in capsys.readouterr().out

    student = create_student(train_config(init=str(strange_network)))
    found, rows = student.state_dict(), class_rows(student)
    assert rows == {key for key, tensor in expected.items() if tensor.shape[:1] == (12,)}
    fresh = create_student(train_config()).state_dict()
    assert all(torch.equal(found[key], (fresh if key in rows else expected)[key]) for key in expected)
    assert "others: lorry in place of" in (said := capsys.readouterr().out)
    assert "The classifier stays random." in said
