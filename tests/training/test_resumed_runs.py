"""A run that was interrupted and resumed ends as one that was not."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from steps import EVALUATION, SCORES, TRAINING, Crash, at_step, crash_at, takes, whole_and_resumed

from fakd.analysis.runs import read_metrics
from fakd.cli import main
from fakd.methods import METHODS
from fakd.training import distill

SMALL_FAKD = Path(__file__).parents[1] / "small_fakd.py"
FAKD = {"method": "fakd", "dropout": 0.5, "max_steps": 6, "checkpoint_every": 2, "eval_every": 4}


def equal(one: Any, other: Any) -> bool:
    """Whether two nests of dicts, lists, tensors and plain values are the same bit by bit."""
    if isinstance(one, torch.Tensor):
        return torch.equal(one, other)
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(equal(one[key], other[key]) for key in one)
    if isinstance(one, list | tuple):
        return len(one) == len(other) and all(map(equal, one, other))
    return bool(one == other)


def assert_equal_runs(one: Path, other: Path) -> None:
    ours, theirs = load_file(one / "student.safetensors"), load_file(other / "student.safetensors")
    assert ours.keys() == theirs.keys()
    assert [name for name in ours if not torch.equal(ours[name], theirs[name])] == []
    for name in ("last", "best"):
        ours, theirs = (torch.load(run / f"checkpoints/{name}.ckpt", weights_only=True) for run in (one, other))
        assert ours["global_step"] == theirs["global_step"]
        assert equal(ours["state_dict"], theirs["state_dict"])
    assert read_metrics(one) == read_metrics(other)


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("whole") / "run"


@pytest.mark.parametrize("method", [name for name in METHODS if name not in ("none", "fakd")])
def test_every_method_resumes_with_all_it_knows(distill_config, monkeypatch, tmp_path, method) -> None:
    settings = {"method": method, "dropout": 0.5, "max_steps": 4, "checkpoint_every": 2, "eval_every": 4}
    assert_equal_runs(*whole_and_resumed(monkeypatch, distill_config, tmp_path, 3, **settings))


@pytest.mark.parametrize(
    ("where", "steps"),
    [
        (TRAINING, [1]),  # before the first checkpoint
        (TRAINING, [2]),  # right after one
        (TRAINING, [3]),
        (TRAINING, [3, 5]),
        (EVALUATION, [4]),  # after the checkpoint of the same step
        (SCORES, [4]),
        (TRAINING, [4]),  # after an evaluation
    ],
)
def test_resumed_is_bit_identical(distill_config, whole, monkeypatch, tmp_path, where, steps) -> None:
    if not whole.exists():
        distill(distill_config(**FAKD, output=whole))
    for number, step in enumerate(steps):
        crash_at(monkeypatch, step, where)
        with pytest.raises(Crash):
            distill(distill_config(**FAKD, resume=number > 0))
    results = distill(distill_config(**FAKD, resume=True))
    assert results["steps"] == 6
    assert len(list((tmp_path / "run/logs/csv").iterdir())) == len(steps) + (steps != [1] or 1)
    assert_equal_runs(tmp_path / "run", whole)


def test_metrics_logged_after_the_checkpoint_are_replaced(distill_config, whole, monkeypatch, tmp_path) -> None:
    crash_at(monkeypatch, 3)
    with pytest.raises(Crash):
        distill(distill_config(**FAKD))
    assert [step for step, _ in read_metrics(tmp_path / "run")["loss/ce"]] == [0, 1, 2]
    distill(distill_config(**FAKD, resume=True))
    assert [step for step, _ in read_metrics(tmp_path / "run")["loss/ce"]] == list(range(6))


def test_a_crash_after_the_last_step_costs_no_training(distill_config, whole, monkeypatch, tmp_path) -> None:
    if not whole.exists():
        distill(distill_config(**FAKD, output=whole))
    with monkeypatch.context() as patch:
        patch.setattr("fakd.training.run.save_model", lambda *_: (_ for _ in ()).throw(Crash))
        with pytest.raises(Crash):
            distill(distill_config(**FAKD))
    results = distill(distill_config(**FAKD, resume=True))
    assert results["steps"] == 6
    assert results["seconds"] > 0
    assert_equal_runs(tmp_path / "run", whole)


def test_seconds_add_up_over_starts(distill_config, monkeypatch) -> None:
    clock = [0.0]
    takes(monkeypatch, clock, TRAINING, 1.0)
    crash_at(monkeypatch, 3)
    with pytest.raises(Crash):
        distill(distill_config(**FAKD))
    clock[0] += 1000  # the user sleeps
    assert distill(distill_config(**FAKD, resume=True))["seconds"] == 6.0


@pytest.mark.parametrize(
    ("where", "step", "stopped_at"),
    [(TRAINING, 2, 3), (TRAINING, 3, 4), (EVALUATION, 4, 4), (TRAINING, 5, 6)],
)
def test_interrupt_finishes_the_step_and_keeps_it(
    distill_config, whole, monkeypatch, tmp_path, capsys, where, step, stopped_at
) -> None:
    if not whole.exists():
        distill(distill_config(**FAKD, output=whole))
    before = signal.getsignal(signal.SIGINT)
    with monkeypatch.context() as patch:
        at_step(patch, where, step, lambda: os.kill(os.getpid(), signal.SIGINT))
        assert distill(distill_config(**FAKD)) is None
    assert f"stopped at step {stopped_at} of 6; go on with the same command and --resume" in capsys.readouterr().out
    assert signal.getsignal(signal.SIGINT) is before
    assert torch.load(tmp_path / "run/checkpoints/last.ckpt", weights_only=True)["global_step"] == stopped_at
    distill(distill_config(**FAKD, resume=True))
    assert_equal_runs(tmp_path / "run", whole)


def test_rare_logs_keep_their_steps(distill_config, monkeypatch, tmp_path) -> None:
    rare = {**FAKD, "max_steps": 9, "log_every": 3, "eval_every": 9}
    crash_at(monkeypatch, 5)
    with pytest.raises(Crash):
        distill(distill_config(**rare))
    distill(distill_config(**rare, resume=True))
    distill(distill_config(**rare, output=tmp_path / "whole"))
    metrics = read_metrics(tmp_path / "run")
    assert [step for step, _ in metrics["loss/ce"]] == [2, 5, 8]
    assert metrics == read_metrics(tmp_path / "whole")


@pytest.mark.slow
def test_killed_then_interrupted_from_outside(few_scenes, teacher_run, tmp_path) -> None:
    """kill -9 of a real process, then Ctrl-C of its resumption, then resumed to the end."""
    words = ["distill", "--teacher", str(teacher_run), "--allow_bad_teacher"]
    words += ["--student", "pspnet/test_resnet.r160_in1k", "--head_channels", "8", "--dropout", "0.5"]
    words += ["--batch_size", "2", "--crop_size", "32,32", "--workers", "2", "--accelerator", "cpu"]
    words += ["--max_steps", "30", "--eval_every", "30", "--checkpoint_every", "4", "--log_every", "1"]
    run, last = tmp_path / "run", tmp_path / "run/checkpoints/last.ckpt"

    def start(*extra: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [sys.executable, SMALL_FAKD, *words, "--output", str(run), *extra],
            env={**os.environ, "OMP_NUM_THREADS": "1"},
            text=True,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )

    def wait_for_checkpoint(process: subprocess.Popen[str], after: float) -> None:
        deadline = time.monotonic() + 240
        while not (last.exists() and last.stat().st_mtime > after):
            assert process.poll() is None, process.communicate()[0]
            assert time.monotonic() < deadline
            time.sleep(0.01)

    process = start()
    wait_for_checkpoint(process, 0)
    process.kill()
    process.communicate()
    process = start("--resume")
    wait_for_checkpoint(process, last.stat().st_mtime)
    os.killpg(process.pid, signal.SIGINT)  # as a terminal does: to the loader processes too
    said = process.communicate(timeout=240)[0]
    assert process.returncode == 130, said
    assert "go on with the same command and --resume" in said
    assert said.count("stopping after this step") == 1
    assert "Traceback" not in said

    whole = tmp_path / "whole"
    assert main([*words, "--output", str(run), "--resume"]) == 0
    assert main([*words, "--output", str(whole)]) == 0
    assert_equal_runs(run, whole)
