"""The examples run as their docstrings say."""

import runpy
import sys
from pathlib import Path

import fakd
from fakd.data import get_dataset
from fakd.models import create_model

ROOT = Path(__file__).parents[1]


def test_plain_loop(few_scenes, tmp_path, monkeypatch, capsys) -> None:
    classes = get_dataset("toy-scenes").num_classes
    fakd.save_model(
        create_model("pspnet/test_resnet", num_classes=classes, channels=8), tmp_path / "teacher.safetensors"
    )
    script = str(ROOT / "examples/plain_loop.py")
    options = ["--steps", "2", "--batch-size", "2"]
    monkeypatch.setattr(sys, "argv", [script, str(tmp_path / "teacher.safetensors"), *options])
    runpy.run_path(script, run_name="__main__")
    said = capsys.readouterr().out
    assert "step 1  loss" in said
    assert "mIoU" in said


def test_plain_loop_stays_short() -> None:
    assert len((ROOT / "examples/plain_loop.py").read_text().splitlines()) < 120
