"""The examples run as their docstrings say."""

import subprocess
import sys
from pathlib import Path

import pytest

import fakd
from fakd.data import get_dataset
from fakd.models import create_model

ROOT = Path(__file__).parents[1]


@pytest.mark.slow
def test_plain_loop(tmp_path) -> None:
    classes = get_dataset("toy-scenes").num_classes
    fakd.save_model(
        create_model("pspnet/test_resnet", num_classes=classes, channels=8), tmp_path / "teacher.safetensors"
    )
    command = [sys.executable, ROOT / "examples/plain_loop.py", tmp_path / "teacher.safetensors", "--steps", "2"]
    said = subprocess.run([*command, "--batch-size", "2"], capture_output=True, text=True, check=True).stdout
    assert "step 1  loss" in said
    assert "mIoU" in said


def test_plain_loop_stays_short() -> None:
    assert len((ROOT / "examples/plain_loop.py").read_text().splitlines()) < 120
