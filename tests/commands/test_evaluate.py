"""Scores of a trained network."""

import json
from dataclasses import replace

import pytest

from fakd.commands.evaluate import EvaluateConfig, evaluate
from fakd.data import DATASETS
from fakd.data.spec import SlidingWindow
from fakd.models import create_model, save_model


def test_repeats_what_training_found(few_scenes, teacher_run, tmp_path, capsys) -> None:
    file = tmp_path / "deep/scores.json"
    scores = evaluate(EvaluateConfig(teacher_run, workers=0, output=file))
    found = json.loads((teacher_run / "results.json").read_text())
    for name in ("mIoU", "mAcc", "aAcc", "IoU", "acc"):
        assert scores[name] == pytest.approx(found[name], abs=1e-9), name
    how = {"window": None, "flip": False, "scales": [1.0]}
    written = {"model": str(teacher_run), "dataset": "toy-scenes", "inference": how, **scores}
    assert json.loads(file.read_text()) == written
    table = capsys.readouterr().out
    assert f"{scores['mIoU']:.2f}" in table
    assert all(name in table for name in scores["IoU"])
    # the file itself says as much as the folder
    assert evaluate(EvaluateConfig(teacher_run / "student.safetensors", workers=0)) == scores


def test_base_size_changes_the_scores(few_scenes, teacher_run) -> None:
    scores = [evaluate(EvaluateConfig(teacher_run, workers=0, base_size=size)) for size in (None, (48, 72), (24, 36))]
    assert scores[0] == scores[1]
    assert scores[0] != scores[2]


def test_the_data_sets_window_unless_told_otherwise(few_scenes, teacher_run, monkeypatch, tmp_path) -> None:
    def scores(**options) -> tuple[dict, dict]:
        file = tmp_path / "scores.json"
        found = evaluate(EvaluateConfig(teacher_run, workers=0, output=file, overwrite=True, **options))
        return found, json.loads(file.read_text())["inference"]

    whole, _ = scores()
    windows, how = scores(window=(32, 32), stride=(16, 24))
    assert how == {"window": {"size": [32, 32], "stride": [16, 24]}, "flip": False, "scales": [1.0]}
    assert windows != whole
    spec = replace(DATASETS["toy-scenes"], window=SlidingWindow((32, 32), (16, 24)))
    monkeypatch.setitem(DATASETS, "toy-scenes", spec)
    assert scores() == scores(mode="slide") == (windows, how)
    assert scores(mode="whole")[0] == whole
    averaged, how = scores(mode="whole", flip=True, scales=[0.5, 1])
    assert how == {"window": None, "flip": True, "scales": [0.5, 1]}
    assert averaged not in (whole, windows)
    with pytest.raises(ValueError, match="mode 'whole' has no windows"):
        scores(mode="whole", window=(32, 32))


def test_networks_that_do_not_fit(few_scenes, teacher_run, tmp_path) -> None:
    bare = tmp_path / "bare.safetensors"
    save_model(create_model("pspnet/test_resnet", num_classes=3, channels=8), bare)
    with pytest.raises(ValueError, match="does not say what it was trained on: name the data set with --dataset"):
        evaluate(EvaluateConfig(bare))
    with pytest.raises(ValueError, match="scores 3 classes, but toy-scenes has 12"):
        evaluate(EvaluateConfig(bare, dataset="toy-scenes"))
    with pytest.raises(ValueError, match="'camvid' is read from disk: say where it is with --data-root"):
        evaluate(EvaluateConfig(teacher_run, dataset="camvid"))
    with pytest.raises(ValueError, match=r"no data set 'ade'; choose one of .*camvid"):
        evaluate(EvaluateConfig(teacher_run, dataset="ade"))
