"""What a run reports of its time."""

import json

import pytest

from fakd.data.loading import SegmentationDataset
from fakd.training import train
from fakd.training.module import DistillationModule


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """A clock that only moves where a test says so: 3 s for an image, 1 s for a step, 100 s for a validation."""
    now = [0.0]
    monkeypatch.setattr("fakd.training.timing.time.monotonic", lambda: now[0])

    def takes(owner: type, name: str, seconds: float) -> None:
        original = getattr(owner, name)

        def slow(self: object, *args: object) -> object:
            now[0] += seconds
            return original(self, *args)

        monkeypatch.setattr(owner, name, slow)

    takes(SegmentationDataset, "__getitem__", 3.0)
    takes(DistillationModule, "training_step", 1.0)
    takes(DistillationModule, "validation_step", 100.0)
    return now


def test_share_of_time_waiting_for_data(train_config, clock, tmp_path) -> None:
    results = train(train_config(eval_every=4))
    # 4 steps of 2 images: the loop asks for each batch, and is given it after 6 s.
    assert results["seconds"] == pytest.approx(28.0)
    assert results["data_wait"] == pytest.approx(24 / 28, abs=1e-4)
    assert json.loads((tmp_path / "run/results.json").read_text())["data_wait"] == results["data_wait"]


def test_a_resumed_run_adds_up(train_config, clock, monkeypatch) -> None:
    step = DistillationModule.training_step

    def crash(self: DistillationModule, *args: object) -> object:
        if self.global_step == 2:
            raise KeyError
        return step(self, *args)

    with monkeypatch.context() as patch:
        patch.setattr(DistillationModule, "training_step", crash)
        with pytest.raises(KeyError):
            train(train_config(checkpoint_every=2))
    results = train(train_config(checkpoint_every=2, resume=True))
    assert results["data_wait"] == pytest.approx(24 / 28, rel=0.2)  # the batch that was fetched ahead is fetched again
