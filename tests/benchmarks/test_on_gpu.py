"""The script for a GPU, at tiny sizes on the CPU: so that nobody waits for a GPU to find that it does not run."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[2] / "benchmarks/on_gpu.sh"
TINY = {
    "DEVICE": "cpu",
    "DATASET": "toy-scenes",
    "BUDGET": "--max-steps 2 --eval-every 2",
    "STEP": "--size 32 --batch 2 --rounds 1 --workers 0",
    "TEACHER": "pspnet/test_resnet",
    "STUDENT": "pspnet/test_efficientnet",
    "WEIGHTS": "null",
    "TEACHER_STEPS": "2",
    "SIZES": "--batch-size 2 --crop-size 32,32 --base-size 32,48 --workers 0 --allow-bad-teacher true",
}


@pytest.mark.slow
def test_runs_whole(tmp_path) -> None:
    python = tmp_path / "python"
    python.write_text(f'#!/bin/sh\nexec {sys.executable} {SCRIPT.parents[1]}/tests/benchmarks/tiny_python.py "$@"\n')
    python.chmod(0o755)
    environment = {**os.environ, **TINY, "PYTHON": str(python), "OMP_NUM_THREADS": "1"}
    subprocess.run(["bash", SCRIPT, "nowhere", tmp_path], env=environment, check=True, timeout=600)
    steps = (tmp_path / "step.md").read_text()
    for name in ("the student alone", "cwd", "fakd", "cwd, teacher cached", "fakd, teacher cached"):
        assert f"\n| {name} |" in steps
    table = (tmp_path / "camvid/comparison.md").read_text()
    for name in ("student alone", "cwd", "fakd"):
        assert f"\n| {name} | 1 |" in table
