"""fakd export, as people type it."""

import json
import sys
from pathlib import Path

import pytest
import torch
from PIL import Image
from safetensors import safe_open
from settled import TINY, settled

from fakd.cli import main
from fakd.commands.evaluate import EvaluateConfig, evaluate
from fakd.commands.export import ExportConfig, export
from fakd.console import install_command
from fakd.models import OnnxNetwork, load_model, save_model

pytestmark = pytest.mark.usefixtures("few_scenes")


@pytest.fixture
def checkpoint(tmp_path: Path) -> Path:
    path = tmp_path / "network.safetensors"
    save_model(settled(TINY, 12, channels=8), path)
    return path


def test_a_run_exported_scores_as_the_run(
    teacher_run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "run.onnx"
    assert main(["export", str(teacher_run), str(path)]) == 0
    said = capsys.readouterr().out
    assert "65x97" in said
    assert f"written to {path}: scores, classes, palette" in said
    options = {"workers": 0, "device": "cpu"}
    assert evaluate(EvaluateConfig(model=str(path), **options)) == evaluate(
        EvaluateConfig(model=str(teacher_run), **options)
    )
    notes, network = OnnxNetwork(path).notes, load_model(teacher_run)[0]
    assert notes["dataset"] == "toy-scenes"
    assert json.loads(notes["base_size"]) == [48, 72]
    assert len(json.loads(notes["classes"])) == len(json.loads(notes["palette"])) == int(notes["num_classes"]) == 12
    assert json.loads(notes["mean"]) == pytest.approx(network.mean.flatten().tolist())
    assert json.loads(notes["std"]) == pytest.approx(network.std.flatten().tolist())
    assert json.loads(notes["architecture"])["backbone"] == "test_resnet.r160_in1k"
    assert [file.name for file in tmp_path.iterdir()] == ["run.onnx"]


@pytest.mark.parametrize("suffix", [".onnx", ".safetensors"])
def test_a_named_data_set_leaves_the_size_of_training_images(suffix: str, teacher_run: Path, tmp_path: Path) -> None:
    export(ExportConfig(str(teacher_run), tmp_path / f"a{suffix}", dataset="toy-scenes"))
    export(ExportConfig(str(teacher_run), tmp_path / f"b{suffix}", dataset="toy-scenes", base_size=(24, 36)))
    files = [tmp_path / f"{name}{suffix}" for name in "ab"]
    notes = [OnnxNetwork(file).notes if suffix == ".onnx" else load_model(file)[1] for file in files]
    assert [json.loads(found["base_size"]) for found in notes] == [[48, 72], [24, 36]]


def test_eight_bits_and_what_they_cost(teacher_run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    export(ExportConfig(str(teacher_run), tmp_path / "float.onnx"))
    found = export(ExportConfig(str(teacher_run), tmp_path / "int8.onnx", int8=True, workers=0, calibration_images=4))
    assert "8 validation images" in capsys.readouterr().out
    options = {"workers": 0, "device": "cpu"}
    for kind, own in found["miou"].items():
        path = tmp_path / ("float.onnx" if kind == "float32" else "int8.onnx")
        assert evaluate(EvaluateConfig(model=str(path), **options))["mIoU"] == pytest.approx(own)
        assert path.stat().st_size == found["bytes"][kind]
    assert found["bytes"]["int8"] < 0.6 * found["bytes"]["float32"]  # of so small a network, much is no weight
    assert abs(found["miou"]["int8"] - found["miou"]["float32"]) < 2
    network = OnnxNetwork(tmp_path / "int8.onnx")
    assert network.notes["quantization"] == "int8"
    assert network.notes["dataset"] == "toy-scenes"
    # rounded, but the same network
    images = torch.rand(1, 3, 48, 72)
    whole, rounded = OnnxNetwork(tmp_path / "float.onnx")(images).logits, network(images).logits
    assert 0 < (whole - rounded).abs().max() < 0.2 * whole.abs().max()


def test_calibration_images_of_a_folder(teacher_run: Path, tmp_path: Path) -> None:
    folder = tmp_path / "images"
    folder.mkdir()
    Image.new("RGB", (90, 60), (255, 255, 255)).save(folder / "a.png")
    arguments = ["--int8", "--calibration", str(folder), "--workers", "0", "--argmax"]
    assert main(["export", str(teacher_run), str(tmp_path / "a.onnx"), *arguments]) == 0
    assert OnnxNetwork(tmp_path / "a.onnx").gives_labels


def test_weights_alone(checkpoint: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "deployed.safetensors"
    assert main(["export", str(checkpoint), str(path), "--dataset", "toy-scenes"]) == 0
    assert "without the auxiliary head" in capsys.readouterr().out
    network, notes = load_model(path)
    images = torch.rand(1, 3, 40, 56)
    with torch.no_grad():
        assert torch.equal(network(images).logits, load_model(checkpoint)[0](images).logits)
    assert network.aux_head is None
    assert notes["dataset"] == "toy-scenes"
    with safe_open(path, framework="pt") as file:
        assert not any(name.startswith("aux_head") for name in file.keys())  # noqa: SIM118 - not a dict
        assert len(json.loads(file.metadata()["mean"])) == 3


def test_classes_that_nobody_knows(checkpoint: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["export", str(checkpoint), str(tmp_path / "a.onnx"), "--argmax"]) == 0
    assert "no classes: name them with --dataset" in capsys.readouterr().out
    assert OnnxNetwork(tmp_path / "a.onnx").gives_labels


@pytest.mark.parametrize(
    ("output", "options", "message"),
    [
        ("a.pt", [], "must end in .onnx or .safetensors"),
        ("there.onnx", [], "there.onnx exists"),
        ("a.safetensors", ["--argmax"], "--argmax needs an output that ends in .onnx"),
        ("a.safetensors", ["--int8"], "--int8 needs an output that ends in .onnx"),
        ("a.onnx", ["--calibration", "."], "--calibration is for --int8"),
        ("a.onnx", ["--int8"], "does not say what it was trained on"),
        ("a.onnx", ["--int8", "--dataset", "camvid"], "say where it is with --data-root"),
        ("a.onnx", ["--int8", "--dataset", "toy-scenes", "--calibration", "nowhere"], "no image at nowhere"),
        ("a.onnx", ["--int8", "--calibration_images", "0"], "--calibration-images must be 1 or more"),
        ("a.onnx", ["--dataset", "voc2012"], "scores 12 classes, but voc2012 has 21"),
        ("a.onnx", ["--opset", "5"], "cannot write this network as ONNX"),
    ],
)
def test_what_cannot_be(
    output: str,
    options: list[str],
    message: str,
    checkpoint: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    (tmp_path / "there.onnx").write_text("kept")
    before = sorted(tmp_path.iterdir())
    assert main(["export", str(checkpoint), str(tmp_path / output), *options]) == 1
    assert message in capsys.readouterr().err
    assert sorted(tmp_path.iterdir()) == before
    assert (tmp_path / "there.onnx").read_text() == "kept"


def test_without_the_extra(
    checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "onnx", None)
    assert main(["export", str(checkpoint), str(tmp_path / "a.onnx")]) == 1
    assert install_command("export") in capsys.readouterr().err


def test_a_network_that_onnx_changes_is_not_kept(
    checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("fakd.export.onnx_check.LIMIT", 1e-12)
    assert main(["export", str(checkpoint), str(tmp_path / "a.onnx")]) == 1
    assert "is not written: as ONNX the network gives other scores" in capsys.readouterr().err
    assert [file.name for file in tmp_path.iterdir()] == ["network.safetensors"]
