"""The teacher that comes with the package: small, good, and what its card says."""

import re
import shlex

import pytest
import torch
from safetensors import safe_open

from fakd import cli
from fakd.commands.demo import TEACHER
from fakd.commands.evaluate import EvaluateConfig, evaluate
from fakd.data.sets.toy_scenes import TOY_SCENES
from fakd.models import create_model, open_model, save_model
from fakd.models.names import NetworkName, names_trained_model
from fakd.models.shipped import SHIPPED, shipped_file

FILE = shipped_file("toy-scenes")
CARD = FILE.with_suffix(".md")


def test_is_small_and_stored_in_float16() -> None:
    assert FILE.stat().st_size <= 10_000_000
    with safe_open(FILE, "pt") as file:
        tensors = [file.get_tensor(name) for name in file.keys()]  # noqa: SIM118 - not a dict
    assert {tensor.dtype for tensor in tensors} == {torch.float16, torch.int64}
    assert all(tensor.isfinite().all() for tensor in tensors)


def test_opens_by_its_name() -> None:
    assert names_trained_model("toy-scenes")
    model, notes = open_model("toy-scenes")
    assert f"{model.config.head}/{model.config.backbone}" == SHIPPED["toy-scenes"]
    assert notes == TOY_SCENES.notes(TOY_SCENES.base_size)
    assert {parameter.dtype for parameter in model.parameters()} == {torch.float32}
    assert not model.training


def test_a_run_folder_of_that_name_goes_first(tmp_path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "toy-scenes").mkdir()  # holds no network
    assert NetworkName.parse("toy-scenes").network == str(FILE)
    small = create_model("pspnet/test_resnet", num_classes=3, channels=8)
    save_model(small, tmp_path / "toy-scenes/student.safetensors")
    assert open_model("toy-scenes")[0].num_classes == 3


def test_the_card_tells_its_size_and_how_it_was_made() -> None:
    text = CARD.read_text()
    assert f"{FILE.stat().st_size / 1e6:.1f} MB" in text
    (command,) = re.findall(r"^fakd (train .*)$", text.replace("\\\n", " "), re.MULTILINE)
    config = cli.parse(shlex.split(command))[1]
    assert {name: getattr(config, name) for name in TEACHER} == TEACHER


@pytest.mark.slow
def test_scores_what_its_card_says() -> None:
    miou = evaluate(EvaluateConfig("toy-scenes", workers=0, device="cpu"))["mIoU"]
    assert miou >= 60
    (told,) = re.findall(r"mIoU ([\d.]+)", CARD.read_text())
    assert miou == pytest.approx(float(told), abs=0.1)  # rounding differs from machine to machine
