import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from PIL import Image

from fakd.cli import main
from fakd.commands.convert import ConvertConfig, convert
from fakd.data import get_dataset
from fakd.models import create_model, load_model, save_mmseg, save_model


@pytest.fixture
def checkpoint(tmp_path: Path) -> Path:
    path = tmp_path / "theirs.pth"
    save_mmseg(create_model("hrnet-w18s", num_classes=11), path)
    return path


def test_there_and_back_by_the_command_line(
    checkpoint: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    ours, again = tmp_path / "ours.safetensors", tmp_path / "again.pth"
    assert main(["convert", str(checkpoint), str(ours)]) == 0
    assert "fcn-concat/hrnetv2_w18_small, 11 classes" in capfd.readouterr().out
    assert main(["convert", str(ours), str(again), "--to", "mmseg"]) == 0
    before, after = (torch.load(path, weights_only=True)["state_dict"] for path in (checkpoint, again))
    assert list(before) == list(after)
    assert all(torch.equal(before[name], after[name]) for name in before)


def test_class_names_of_a_data_set(checkpoint: Path, tmp_path: Path) -> None:
    target = convert(ConvertConfig(str(checkpoint), tmp_path / "ours.safetensors", dataset="camvid"))
    _, notes = load_model(target)
    assert notes["dataset"] == "camvid"
    assert json.loads(notes["classes"]) == list(get_dataset("camvid").classes)


def test_the_networks_own_base_size_stays(tmp_path: Path) -> None:
    source = tmp_path / "own.safetensors"
    save_model(create_model("hrnet-w18s", num_classes=11), source, {"base_size": "[100, 200]", "dataset": "mine"})
    target = convert(ConvertConfig(str(source), tmp_path / "named.safetensors", dataset="camvid"))
    _, notes = load_model(target)
    assert (notes["base_size"], notes["dataset"]) == ("[100, 200]", "camvid")


def test_class_names_of_a_users_folder(checkpoint: Path, tmp_path: Path) -> None:
    names = [f"kind {place}" for place in range(11)]
    (tmp_path / "set" / "images").mkdir(parents=True)
    (tmp_path / "set" / "classes.txt").write_text("\n".join(names))
    Image.new("RGB", (12, 8)).save(tmp_path / "set" / "images" / "a.png")
    config = ConvertConfig(str(checkpoint), tmp_path / "ours.safetensors", dataset="folder")
    with pytest.raises(ValueError, match="folder needs the path of its files"):
        convert(config)
    _, notes = load_model(convert(replace(config, data_root=tmp_path / "set")))
    assert json.loads(notes["classes"]) == names


def test_student_of_a_run_folder(tmp_path: Path) -> None:
    save_model(create_model("pspnet-r18", num_classes=2), tmp_path / "run" / "student.safetensors")
    target = convert(ConvertConfig(str(tmp_path / "run"), tmp_path / "m.pth", to="mmseg"))
    assert "auxiliary_head.conv_seg.bias" in torch.load(target, weights_only=True)["state_dict"]


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        ({"target": "x.pth"}, ValueError, r"must end in \.safetensors, got .*x\.pth.*--to mmseg"),
        ({"target": "x.safetensors", "to": "mmseg"}, ValueError, r"must end in \.pth"),
        ({"target": "theirs.pth", "to": "mmseg"}, FileExistsError, r"exists.*--overwrite"),
        ({"dataset": "toy-scenes"}, ValueError, "scores 11 classes, but toy-scenes has"),
        ({"dataset": "nothing"}, ValueError, "no data set 'nothing'"),
        ({"source": "none.pth"}, FileNotFoundError, r"no file of weights at .*none\.pth"),
    ],
)
def test_refuses(
    checkpoint: Path, tmp_path: Path, changes: dict[str, str], error: type[Exception], message: str
) -> None:
    settings = {"source": "theirs.pth", "target": "ours.safetensors", **changes}
    settings |= {name: str(tmp_path / settings[name]) for name in ("source", "target")}
    before = checkpoint.read_bytes()
    with pytest.raises(error, match=message):
        convert(ConvertConfig(**settings))
    assert checkpoint.read_bytes() == before
    assert sorted(path.name for path in tmp_path.iterdir()) == ["theirs.pth"]


def test_overwrite(checkpoint: Path, tmp_path: Path) -> None:
    target = tmp_path / "ours.safetensors"
    target.write_text("old")
    convert(ConvertConfig(str(checkpoint), target, overwrite=True))
    assert load_model(target)[0].num_classes == 11
