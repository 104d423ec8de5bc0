"""When a run ends, which of its weights it reports, and how often it is evaluated."""

import json

import pytest
import torch
from safetensors.torch import load_file
from steps import EVALUATION, TRAINING, Crash, crash_at, takes

from fakd.training import TrainConfig, loop, train
from fakd.training.loop import evaluation_interval


def scoring(monkeypatch: pytest.MonkeyPatch, *scores: float) -> None:
    """Let the evaluations come out so, one after the other, and all others as they do."""
    left, original = list(scores), loop.scores_from_confusion

    def scored(*args):
        found = original(*args)
        if left:
            object.__setattr__(found, "mIoU", left.pop(0))
        return found

    monkeypatch.setattr(loop, "scores_from_confusion", scored)


def test_patience_ends_a_run_that_gets_no_better(train_config, monkeypatch, capsys) -> None:
    scoring(monkeypatch, 5.0, 9.0, 8.0, 9.0)
    results = train(train_config(max_steps=8, eval_every=1, patience=2))
    assert (results["steps"], results["best_step"], results["best_mIoU"]) == (4, 2, 9.0)
    assert "stopped early at step 4: 2 evaluations were no better than mIoU 9.00 of step 2" in capsys.readouterr().out


def test_without_patience_it_goes_on(train_config, monkeypatch) -> None:
    scoring(monkeypatch, 5.0, 4.0, 3.0, 2.0)
    assert train(train_config(max_steps=4, eval_every=1))["steps"] == 4


def test_patience_counts_over_starts(train_config, monkeypatch, tmp_path) -> None:
    settings = {"max_steps": 8, "eval_every": 1, "checkpoint_every": 1, "patience": 2}
    with monkeypatch.context() as patch:
        scoring(patch, 9.0, 8.0)
        crash_at(patch, 2)
        with pytest.raises(Crash):
            train(train_config(**settings))
    scoring(monkeypatch, 7.0)
    results = train(train_config(**settings, resume=True))
    assert (results["steps"], results["best_step"]) == (3, 1)


@pytest.mark.parametrize(("report", "step"), [("best", 2), ("last", 4)])
def test_the_weights_that_are_reported(train_config, monkeypatch, tmp_path, report, step) -> None:
    scoring(monkeypatch, 5.0, 9.0, 8.0, 7.0)
    results = train(train_config(max_steps=4, eval_every=1, report=report))
    assert (results["report"], results["report_step"], results["best_step"]) == (report, step, 2)
    name = "best" if report == "best" else "last"
    kept = torch.load(tmp_path / f"run/checkpoints/{name}.ckpt", weights_only=True)
    assert kept["global_step"] == step
    for key, value in load_file(tmp_path / "run/student.safetensors").items():
        assert torch.equal(value, kept["state_dict"][f"student.{key}"])
    assert json.loads((tmp_path / "run/results.json").read_text()) == results


def test_ten_evaluations_or_a_tenth_of_the_run() -> None:
    long = TrainConfig(max_steps=40_000, batch_size=16, base_size=(100, 200), crop_size=(100, 100))
    assert evaluation_interval(long, images=100) == 4000
    short = TrainConfig(max_steps=20, batch_size=16, base_size=(100, 200), crop_size=(100, 100))
    assert evaluation_interval(short, images=1) == 2
    # 20 steps are 960 crops' worth, a tenth of which, and a ninth of the rest, 53 images
    assert evaluation_interval(short, images=53) == 20
    assert evaluation_interval(short, images=1000) == 20
    assert evaluation_interval(short, images=10) == 4  # five times
    assert evaluation_interval(TrainConfig(max_steps=4), images=0) == 1


def test_the_time_of_evaluations_is_told_and_the_last_is_not_done_twice(train_config, monkeypatch) -> None:
    clock = [0.0]
    takes(monkeypatch, clock, TRAINING, 1.0)
    takes(monkeypatch, clock, EVALUATION, 3.0)
    results = train(train_config(max_steps=4, eval_every=2))
    assert (results["seconds"], results["wall_seconds"], results["evaluation_share"]) == (4.0, 10.0, 0.6)
