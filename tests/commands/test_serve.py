"""What is served, and what is refused."""

import builtins
import json
import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from PIL import Image

from fakd.commands.serve import ServeConfig, _find_samples, served
from fakd.console import install_command
from fakd.data import DataError
from fakd.evaluation.predictor import Predictor
from fakd.models import create_model, save_model
from fakd.serve.pair import described, open_pair
from fakd.serve.samples import samples_from_dataset, samples_from_folder


def pair(model: Path, teacher: str | None = None) -> tuple[Predictor, Predictor | None]:
    return open_pair(ServeConfig(str(model), teacher, device="cpu"))


@pytest.fixture
def student_run(teacher_run: Path, tmp_path: Path) -> Callable[[str], Path]:
    """Make a run that says who taught it."""

    def make(teacher: str) -> Path:
        folder = tmp_path / "runs/student"
        folder.mkdir(parents=True)
        shutil.copy(teacher_run / "student.safetensors", folder)
        options = yaml.safe_load((teacher_run / "config.yaml").read_text())
        (folder / "config.yaml").write_text(yaml.safe_dump({**options, "teacher": teacher}))
        return folder

    return make


def test_the_teacher_of_the_run(student_run, teacher_run, capsys) -> None:
    student, teacher = pair(student_run(str(teacher_run)))
    assert teacher is not None
    assert teacher.name == str(teacher_run)
    assert (student.num_classes, student.base_size) == (12, (48, 72))
    assert described(student).endswith("pspnet/test_resnet.r160_in1k, 0.5 M parameters")
    assert pair(teacher_run)[1] is None  # nobody taught it
    assert capsys.readouterr().out == ""


def test_a_teacher_that_was_moved(student_run, teacher_run, tmp_path, capsys) -> None:
    run = student_run("elsewhere/big")
    assert pair(run)[1] is None
    assert "the teacher of" in capsys.readouterr().out
    shutil.copytree(teacher_run, tmp_path / "runs/big")
    assert pair(run)[1].name == str(tmp_path / "runs/big")
    with pytest.raises(FileNotFoundError, match="no model file at"):
        pair(run, "nowhere")


def test_networks_of_other_classes(teacher_run, tmp_path) -> None:
    save_model(create_model("pspnet/test_resnet", num_classes=3, channels=8), tmp_path / "three.safetensors")
    with pytest.raises(ValueError, match=r"three.safetensors scores 3 classes, but .*teacher has 12. Name another"):
        pair(teacher_run, str(tmp_path / "three.safetensors"))


def test_a_teacher_whose_classes_are_merged(teacher_run, tmp_path) -> None:
    names = ("street", "person", "rider", "nothing")
    network = create_model("pspnet/test_resnet", num_classes=4, channels=8).eval()
    save_model(network, tmp_path / "four.safetensors", {"classes": json.dumps(names)})
    save_model(
        create_model("pspnet/test_resnet", num_classes=2, channels=8),
        tmp_path / "two.safetensors",
        {"classes": json.dumps(["road", "people"]), "palette": json.dumps([[1, 2, 3], [4, 5, 6]])},
    )
    (tmp_path / "map.yaml").write_text("street: road\nperson: people\nrider: people\nnothing: null\n")
    config = ServeConfig(str(tmp_path / "two.safetensors"), str(tmp_path / "four.safetensors"), device="cpu")
    with pytest.raises(ValueError, match="or say by --class-map which"):
        open_pair(config)
    student, teacher = open_pair(replace(config, class_map=tmp_path / "map.yaml"))
    assert teacher is not None
    assert (teacher.num_classes, teacher.classes, teacher.palette) == (2, student.classes, student.palette)
    images = torch.randint(0, 256, (1, 3, 32, 32), dtype=torch.uint8)
    with torch.no_grad():
        logits = network(images / 255).logits
    merged = torch.stack([logits[:, 0], logits[:, 1:3].logsumexp(1)], 1)
    expected = torch.nn.functional.interpolate(merged, (32, 32), mode="bilinear").argmax(1)
    assert torch.equal(teacher.labels(images, (32, 32)).long(), expected)
    assert described(teacher).startswith(str(tmp_path / "four.safetensors: pspnet/"))


def test_samples(few_scenes, teacher_run, tmp_path, capsys) -> None:
    found = samples_from_dataset("toy-scenes", None, 3)
    assert [sample.read().shape for sample in found] == [(3, 48, 72)] * 3
    assert [sample.thumbnail.shape for sample in found] == [(160, 240, 3)] * 3
    for index in range(5):
        Image.new("RGB", (300, 200), (index, 0, 0)).save(tmp_path / f"{index}.png")
    (tmp_path / "4.png").write_bytes(b"nothing")
    assert [int(sample.read()[0, 0, 0]) for sample in samples_from_folder(tmp_path, 3)] == [0, 2]
    with pytest.raises(FileNotFoundError, match="no image at"):
        samples_from_folder(tmp_path / "nowhere", 3)

    toys = {"dataset": "toy-scenes"}
    assert len(_find_samples(ServeConfig(str(teacher_run), samples=4), toys)) == 4
    assert len(_find_samples(ServeConfig(str(teacher_run), samples=4, images=tmp_path), toys)) == 3
    assert _find_samples(ServeConfig(str(teacher_run), samples=0), toys) == []
    camvid = {"dataset": "camvid"}
    assert _find_samples(ServeConfig("n.safetensors"), camvid) == []
    assert "no images to pick from" in capsys.readouterr().out
    with pytest.raises(DataError):
        _find_samples(ServeConfig("n.safetensors", data_root=tmp_path / "nowhere"), camvid)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"max_megapixels": 0}, "max_megapixels must be above 0 and at most 89, got 0"),
        ({"max_megapixels": 100}, "at most 89, got 100"),
        ({"max_megabytes": 0}, "max_megabytes must be above 0"),
        ({"samples": -1}, "samples must be 0 or more"),
        ({"port": 70000}, "port must be from 1 to 65535, got 70000"),
    ],
)
def test_numbers_out_of_range(teacher_run, changes, message) -> None:
    with pytest.raises(ValueError, match=message), served(ServeConfig(str(teacher_run), **changes)):
        pass


def test_without_gradio(teacher_run, monkeypatch) -> None:
    found = builtins.__import__

    def without(name: str, *arguments: object) -> object:
        if name == "gradio":
            raise ImportError("No module named 'gradio'")
        return found(name, *arguments)

    monkeypatch.setattr(builtins, "__import__", without)
    with (
        pytest.raises(ModuleNotFoundError, match=re.escape(install_command("serve"))),
        served(ServeConfig(str(teacher_run))),
    ):
        pass


def test_files_that_are_sent(teacher_run, tmp_path) -> None:
    pytest.importorskip("gradio", reason="gradio is not installed")
    from fakd.serve.page import Page

    student, _ = pair(teacher_run)
    page = Page(student, None, [], most_pixels=40 * 30)
    Image.fromarray(np.zeros((30, 40, 3), np.uint8)).save(tmp_path / "good.png")
    Image.fromarray(np.zeros((31, 40, 3), np.uint8)).save(tmp_path / "large.png")
    (tmp_path / "<i>.png").write_bytes(b"nothing")
    assert page.read(tmp_path / "good.png").shape == (3, 30, 40)
    with pytest.raises(DataError, match=r"^large.png: 40 x 31 are 1,240 pixels, expected 1,200 at most"):
        page.read(tmp_path / "large.png")
    message, *rest = page.show_upload(str(tmp_path / "<i>.png"), 0.5)
    assert message.startswith('<p role="alert">&lt;i&gt;.png: not readable as image')
    assert str(tmp_path) not in message
    assert rest == [None, "", None, "", None, None]
    message, slider, numbers, differences, table, _, emptied = page.show_upload(str(tmp_path / "good.png"), 0.5)
    assert (message, differences, emptied) == ("", None, None)
    assert [side.shape for side in slider] == [(480, 640, 3)] * 2
    assert "good.png" in numbers
    assert "<table" in table


@pytest.mark.slow
def test_a_page_that_is_ended_leaves_no_files(teacher_run, tmp_path) -> None:
    environment = os.environ | {"TMPDIR": str(tmp_path), "OMP_NUM_THREADS": "1"}
    words = [sys.executable, "-m", "fakd", "serve", str(teacher_run), "--samples", "0", "--device", "cpu"]
    with subprocess.Popen(words, env=environment, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            assert any("127.0.0.1" in line for line in process.stdout)
            (folder,) = tmp_path.glob("fakd-serve-*")
            (folder / "sent.png").touch()
            process.terminate()
            assert process.wait(60) == 128 + signal.SIGTERM
        finally:
            process.kill()  # where it has not ended by itself
    assert not folder.exists()
