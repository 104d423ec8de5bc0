"""What a run reports of its time."""

import json

import pytest
from steps import EVALUATION, TRAINING, Crash, crash_at, takes

from fakd.data.batches import SegmentationDataset
from fakd.training import train


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """A clock that only moves where a test says so: 3 s for an image, 1 s for a step, 100 s for a validation."""
    now = [0.0]
    original = SegmentationDataset.__getitem__

    def slow(self: SegmentationDataset, key: object) -> object:
        now[0] += 3.0
        return original(self, key)

    monkeypatch.setattr(SegmentationDataset, "__getitem__", slow)
    takes(monkeypatch, now, TRAINING, 1.0)
    takes(monkeypatch, now, EVALUATION, 100.0)
    return now


def test_share_of_time_waiting_for_data(train_config, clock, tmp_path) -> None:
    results = train(train_config(eval_every=4))
    # 4 steps of 2 images: the loop asks for each batch, and is given it after 6 s.
    assert results["seconds"] == pytest.approx(28.0)
    assert results["data_wait"] == pytest.approx(24 / 28, abs=1e-4)
    assert json.loads((tmp_path / "run/results.json").read_text())["data_wait"] == results["data_wait"]


def test_a_resumed_run_adds_up(train_config, clock, monkeypatch) -> None:
    with monkeypatch.context() as patch:
        crash_at(patch, 2)
        with pytest.raises(Crash):
            train(train_config(checkpoint_every=2))
    results = train(train_config(checkpoint_every=2, resume=True))
    assert results["data_wait"] == pytest.approx(24 / 28, abs=1e-4)
