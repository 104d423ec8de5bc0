"""Runs that choose options: scored on a part of train, and ended where they stay below what was to be reached."""

import json
import re

import pytest
import yaml
from steps import Crash, crash_at

from fakd.cli import parse
from fakd.data import DATASETS
from fakd.training import distill, train
from fakd.training.run_data import open_data


def test_a_run_with_a_holdout_does_not_look_at_val(train_config, monkeypatch, capsys, tmp_path) -> None:
    from dataclasses import replace

    whole = DATASETS["toy-scenes"]

    def no_val(root, split):
        assert split == "train"
        return whole.open(root, split)

    monkeypatch.setitem(DATASETS, "toy-scenes", replace(whole, open=no_val))
    config = train_config(holdout=0.4)
    data = open_data(config)
    sources = {split: data.source(split) for split in ("train", "val")}
    names = {split: [source[index].name for index in range(len(source))] for split, source in sources.items()}
    assert sorted(names["train"] + names["val"]) == [f"train/{number:04d}" for number in range(8)]
    train(config)
    assert yaml.safe_load((tmp_path / "run/config.yaml").read_text())["holdout"] == 0.4
    assert f"{len(names['train'])} train, {len(names['val'])} val images" in capsys.readouterr().out


def test_a_cache_of_a_part_is_another_one(distill_config, tmp_path) -> None:
    cache = tmp_path / "cache"
    own = {"method": "cwd", "teacher_cache": cache, "teacher_views": 1, "max_steps": 2, "eval_every": 2}
    distill(distill_config(**own, output=tmp_path / "whole"))
    before = {path: path.stat().st_mtime_ns for path in cache.rglob("*.safetensors")}
    distill(distill_config(**own, output=tmp_path / "part", holdout=0.4))
    assert {path: path.stat().st_mtime_ns for path in before} == before
    assert [path.name.partition("-32x32")[0] for path in sorted(cache.glob("*train*"))] == [
        "toy-scenes-train",
        "toy-scenes-train-without-0.4",
    ]


def test_a_run_below_its_floor_ends_and_is_a_result(train_config, tmp_path, capsys) -> None:
    results = train(train_config(max_steps=6, eval_every=2, at_least={"2": 0, 4: 100.0}))
    assert results["steps"] == 4
    assert json.loads((tmp_path / "run/results.json").read_text())["report_step"] == 4
    said = re.sub(r"\s+", " ", capsys.readouterr().out)
    assert f"stopped early at step 4: the best mIoU, {results['best_mIoU']:.2f} of step" in said
    assert "is below 100.00" in said


def test_a_floor_is_seen_again_on_resuming(train_config, monkeypatch) -> None:
    changes = {"max_steps": 6, "eval_every": 2, "at_least": {"2": 100}}
    with monkeypatch.context() as patch:
        patch.setattr("fakd.training.run.save_model", fails)
        with pytest.raises(Crash):
            train(train_config(**changes))
    crash_at(monkeypatch, 2, once=False)  # no step more
    assert train(train_config(**changes, resume=True))["steps"] == 2


def fails(*_: object) -> None:
    raise Crash


def test_options_of_both(train_config, distill_config, tmp_path) -> None:
    words = ["train", "--dataset", "toy-scenes", "--at-least.400", "31.5", "--at-least.800", "40", "--holdout", "0.1"]
    _, config = parse([*words, "--output", str(tmp_path / "x")])
    assert (config.at_least, config.holdout) == ({"400": 31.5, "800": 40.0}, 0.1)
    assert (config.floor(400), config.gives_up(800, 39.9, 0), config.gives_up(800, 40.0, 0)) == (31.5, True, False)
    for wrong in (-0.1, 1.0):
        with pytest.raises(ValueError, match=r"holdout must be at least 0 and below 1"):
            train_config(holdout=wrong)
    with pytest.raises(ValueError, match=r"at_least must be mIoU by step, as --at-least.400 31.5; got"):
        train_config(at_least={"soon": 3})
    with pytest.raises(ValueError, match=r"holdout is a share of labelled images.*--val-share"):
        distill_config(dataset=None, unlabelled=[str(tmp_path)], holdout=0.1)
