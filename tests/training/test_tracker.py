"""Experiment trackers: what they are told, and that a run that goes on is the same tracked run."""

import json
import os
import re
import signal
from typing import Any

import pytest
from steps import Crash, at_step, crash_at

from fakd.console import install_command
from fakd.training import distill, tracker_options, train
from fakd.training.metrics_file import read_metrics
from fakd.training.tracker import TRACKERS, Tracker


class Notes(Tracker):
    """A tracker that writes down what it is told."""

    advice = "Ask for another one."
    told: list[Any]

    def begin(self, known, options):
        self.told.append(("begin", known, dict(options)))
        return known or "run-1"

    def send(self, values, step):
        self.told.append((step, dict(values)))

    def end(self, status):
        self.told.append(("end", status))


@pytest.fixture
def notes(monkeypatch: pytest.MonkeyPatch) -> type[Notes]:
    class Fresh(Notes):
        told: list[Any] = []  # noqa: RUF012

    monkeypatch.setitem(TRACKERS, "wandb", Fresh)
    monkeypatch.setattr(tracker_options, "find_spec", lambda name: True)
    return Fresh


def test_a_tracker_is_told_options_values_results_and_the_end(train_config, notes, tmp_path) -> None:
    config = train_config(tracker="wandb", tracker_group="together")
    results = train(config)
    (_, known, options), *values, last, end = notes.told
    assert (known, options, end) == (None, config.to_dict(), ("end", "success"))
    rows = [(step, name, value) for step, row in values for name, value in row.items()]
    logged = read_metrics(tmp_path / "run")
    assert sorted(rows) == sorted((step, name, value) for name in logged for step, value in logged[name])
    assert {"loss/ce", "val/mIoU"} <= set(logged)
    assert last[0] == 4
    assert last[1]["results/mIoU"] == results["mIoU"]
    assert all(isinstance(value, int | float) for value in last[1].values())


def test_a_run_that_goes_on_is_the_same_tracked_run(train_config, notes, monkeypatch, tmp_path) -> None:
    crash_at(monkeypatch, 3)
    with pytest.raises(Crash):
        train(train_config(tracker="wandb"))
    assert notes.told[-1] == ("end", "failed")
    (tmp_path / "run").rename(tmp_path / "moved")
    train(train_config(tracker="wandb", output=tmp_path / "moved", resume=True))
    begun = [entry[1] for entry in notes.told if entry[0] == "begin"]
    assert begun == [None, "run-1"]
    train(train_config(tracker="wandb", output=tmp_path / "moved", overwrite=True))
    assert [entry[1] for entry in notes.told if entry[0] == "begin"] == [None, "run-1", None]


def test_a_tracker_may_be_taken_up_on_resuming(train_config, notes, monkeypatch) -> None:
    crash_at(monkeypatch, 3)
    with pytest.raises(Crash):
        train(train_config())
    assert notes.told == []
    train(train_config(tracker="wandb", tracker_group="late", resume=True))
    assert notes.told[0][:2] == ("begin", None)


def test_a_run_that_is_stopped_says_so_to_its_tracker(train_config, notes, monkeypatch) -> None:
    at_step(monkeypatch, "training step", 2, lambda: os.kill(os.getpid(), signal.SIGINT))
    assert train(train_config(tracker="wandb")) is None
    assert notes.told[-1] == ("end", "aborted")


def test_a_tracker_that_fails_in_the_middle_stops_no_run(train_config, notes, monkeypatch, capsys) -> None:
    def fails(self, values, step):
        raise OSError("no route to host")

    monkeypatch.setattr(notes, "send", fails)
    assert train(train_config(tracker="wandb")) is not None
    assert re.sub(r"\s+", " ", capsys.readouterr().out).count("does not take values any more (OSError: no route") == 1


def test_a_tracker_that_cannot_begin_is_said_at_once(train_config, notes, monkeypatch, tmp_path) -> None:
    def fails(self, known, options):
        raise PermissionError("no key")

    monkeypatch.setattr(notes, "begin", fails)
    with pytest.raises(
        ConnectionError, match=r"wandb could not begin .*no key.*Ask for another one.*leave out --tracker"
    ):
        train(train_config(tracker="wandb"))
    assert not (tmp_path / "run/checkpoints").exists()


def test_wrong_options(train_config, monkeypatch) -> None:
    with pytest.raises(ValueError, match="tracker_group 'a' is for a tracker: give --tracker"):
        train_config(tracker_group="a")
    with pytest.raises(ValueError, match="tracker must be wandb, mlflow, comet, got 'clearml'"):
        train_config(tracker="clearml")
    monkeypatch.setattr(tracker_options, "find_spec", lambda name: None)
    for name in TRACKERS:
        with pytest.raises(ModuleNotFoundError, match=re.escape(install_command(name))):
            train_config(tracker=name)


def test_mlflow_keeps_all_of_a_resumed_run_in_one(distill_config, monkeypatch, tmp_path) -> None:
    mlflow = pytest.importorskip("mlflow", reason="needs the extra mlflow")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", (tmp_path / "store").as_uri())
    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")
    monkeypatch.setenv("MLFLOW_EXPERIMENT_NAME", "scenes")
    mlflow.set_tracking_uri(None)
    crash_at(monkeypatch, 3)
    with pytest.raises(Crash):
        distill(distill_config(tracker="mlflow", tracker_group="grid"))
    client = mlflow.MlflowClient()
    experiment = client.get_experiment_by_name("scenes")
    (begun,) = client.search_runs([experiment.experiment_id])
    assert begun.info.status == "FAILED"
    results = distill(distill_config(tracker="mlflow", tracker_group="grid", resume=True))
    (run,) = client.search_runs([experiment.experiment_id])
    assert (run.info.run_id, run.info.status, run.info.run_name) == (begun.info.run_id, "FINISHED", "run")
    assert run.data.tags["group"] == "grid"
    assert (run.data.params["method"], run.data.params["max_steps"]) == ("fakd", "4")
    assert run.data.metrics["results/mIoU"] == pytest.approx(results["mIoU"])
    steps = [metric.step for metric in client.get_metric_history(run.info.run_id, "loss/total")]
    assert set(steps) == {0, 1, 2, 3}


def test_wandb_keeps_all_of_a_resumed_run_under_one_id(distill_config, monkeypatch, tmp_path) -> None:
    wandb = pytest.importorskip("wandb", reason="needs the extra wandb")
    monkeypatch.setenv("WANDB_MODE", "offline")
    crash_at(monkeypatch, 3)
    with pytest.raises(Crash):
        distill(distill_config(tracker="wandb", tracker_group="grid"))
    distill(distill_config(tracker="wandb", tracker_group="grid", resume=True))
    wandb.teardown()  # which waits for what is being written
    logs = tmp_path / "run/logs"
    known = json.loads((logs / "wandb.json").read_text())["id"]
    starts = sorted(logs.glob("wandb/offline-run-*"))
    assert [path.name.rpartition("-")[2] for path in starts] == [known, known]
    written = [next(path.glob("run-*.wandb")).read_bytes() for path in starts]
    assert b"results/mIoU" not in written[0]
    for word in (b"results/mIoU", b"loss/total", b"val/mIoU", b"learning_rate", b"grid"):
        assert word in written[1], word
