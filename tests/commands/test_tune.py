"""A search: the same number of trials for each method, on a part of train, which a kill does not lose."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import yaml
from grid_runs import RunHere, here, names  # noqa: F401  # a fixture
from tiny import NETWORK, SETTINGS

from fakd.cli import main, parse
from fakd.console import install_command
from fakd.files.atomic import write_json
from fakd.training import DistillConfig

optuna = pytest.importorskip("optuna", reason="needs the extra tune")

from fakd.commands import tune as command  # noqa: E402
from fakd.commands.tune import TuneConfig, tune  # noqa: E402


@pytest.fixture
def make(few_scenes: None, teacher_run: Path, tmp_path: Path) -> Callable[..., TuneConfig]:
    def config(**changes: Any) -> TuneConfig:
        own = {"teacher": str(teacher_run), "student": NETWORK, "method": "cwd,fakd", "trials": 4, "check_data": False}
        own |= {"output": tmp_path / "tune", "allow_bad_teacher": True, "max_steps": 2, "eval_every": 1}
        return TuneConfig(**{**SETTINGS, **own, **changes})

    return config


def test_every_method_gets_as_many_trials_and_ends_with_a_file(make, here, tmp_path, capsys) -> None:  # noqa: F811
    here.student = None
    outcome = tune(make(trials=2))
    assert names(here.started) == ["trial-000", "trial-000", "trial-001", "trial-001"]
    assert [config.method for config in here.started] == ["cwd", "fakd"] * 2
    first, last = here.started[1], here.started[3]
    assert (first.learning_rate, first.options) == (0.01, {"weight": 3.0, "temperature": 4.0, "strength": 1.0})
    assert set(last.options) == {"weight", "temperature", "strength"}
    assert 0.001 <= last.learning_rate <= 0.1
    assert 1 <= last.options["temperature"] <= 16
    assert last.learning_rate != first.learning_rate
    for method in ("cwd", "fakd"):
        scores = [
            json.loads((tmp_path / f"tune/{method}/trial-{number:03d}/results.json").read_text())["mIoU"]
            for number in (0, 1)
        ]
        assert outcome[method]["default"] == pytest.approx(scores[0])
        assert outcome[method]["best"] == pytest.approx(max(scores))
        assert outcome[method]["trials"] == 2
    assert json.loads((tmp_path / "tune/tuning.json").read_text()) == outcome
    assert "<svg" in (tmp_path / "tune/tuning.svg").read_text()
    best = here.started[1 + 2 * outcome["fakd"]["best trial"]]
    _, chosen = parse(["distill", "--config", str(tmp_path / "tune/fakd.yaml")])
    assert (chosen.options, chosen.learning_rate, chosen.holdout) == (best.options, best.learning_rate, 0.0)
    assert (chosen.crop_size, chosen.max_steps, chosen.student) == ((32, 32), 2, NETWORK)


def test_val_is_never_opened(make, here, monkeypatch) -> None:  # noqa: F811
    here.student = None
    seen: list[tuple[str, ...]] = []
    config = make(trials=1, method="cwd")
    spec = config.bases["cwd"].spec
    sources = {split: spec.open(None, split) for split in ("train", "val")}
    opened = {split: [source[index].name for index in range(len(source))] for split, source in sources.items()}
    assert sorted(opened["train"] + opened["val"]) == [f"train/{number:04d}" for number in range(8)]
    assert opened["val"]

    from fakd.training import run

    original = run.evaluate_model

    def noting(model, images, *args, **options):
        seen.append(tuple(name for batch in images for name in batch.name))
        return original(model, images, *args, **options)

    monkeypatch.setattr(run, "evaluate_model", noting)
    tune(config)
    assert set(seen) == {tuple(opened["val"])}


def test_trials_below_the_median_end_early(make, here, monkeypatch) -> None:  # noqa: F811
    """Of runs that do as their level says, to where their options have them end."""
    levels = iter([10.0, 20.0, 30.0, 40.0, 50.0, 15.0, 35.0])
    lengths: list[int] = []
    original = command.run_all

    def run_all(planned: Any, *args: Any) -> Any:
        done = original(planned, *args)
        for one in planned:
            level, folder = next(levels), one.folder
            whole = {step: level + step for step in (1, 2, 3)}
            length = next((step for step in whole if one.config.gives_up(step, whole[step], stale=0)), 3)
            lengths.append(length)
            (folder.logs / "csv/000").mkdir(parents=True)
            rows = [f"{step - 1},{whole[step]}" for step in range(1, length + 1)]
            (folder.logs / "csv/000/metrics.csv").write_text("\n".join(["step,val/mIoU", *rows]) + "\n")
            ended = {"steps": length, "best_mIoU": whole[length], "mIoU": whole[length]}
            write_json(folder.results, {**json.loads(folder.results.read_text()), **ended})
        return done

    monkeypatch.setattr(command, "run_all", run_all)
    outcome = tune(make(method="cwd", trials=7, max_steps=3))
    floors = [config.at_least for config in here.started]
    assert floors[:5] == [None] * 5
    assert floors[5] == {"1": 31.0, "2": 32.0}  # none at the end, where nothing is saved
    assert lengths == [3, 3, 3, 3, 3, 1, 3]
    assert (outcome["cwd"]["ended early"], outcome["cwd"]["trials"], outcome["cwd"]["best"]) == (1, 7, 53.0)


def test_going_on_loses_no_trial_and_repeats_none(make, here, tmp_path) -> None:  # noqa: F811
    def killed(config: DistillConfig) -> None:
        if len(here.started) == 4:
            raise KeyboardInterrupt  # as a kill: nothing is put in order

    here.before = staticmethod(killed)
    with pytest.raises(KeyboardInterrupt):
        tune(make())
    before = [config.to_dict() for config in here.started]
    here.before = staticmethod(lambda config: None)
    outcome = tune(make())
    assert {method: found["trials"] for method, found in outcome.items()} == {"cwd": 4, "fakd": 4}
    after = [config.to_dict() for config in here.started[4:]]
    assert after[0] == before[3]
    ran = [(config["method"], config["output"]) for config in before[:3] + after]
    assert len(set(ran)) == len(ran) == 8
    values = {str((config["options"], config["learning_rate"])) for config in before[:3] + after}
    assert len(values) == 8
    assert tune(make()) == outcome
    assert len(here.started) == 9


def test_an_undisturbed_search_draws_the_same(make, here, tmp_path) -> None:  # noqa: F811
    make = partial(make, method="fakd", trials=3)
    tune(make(output=tmp_path / "whole"))
    whole = [(config.options, config.learning_rate) for config in here.started]
    here.started.clear()
    tune(make(output=tmp_path / "parts", trials=2))
    tune(make(output=tmp_path / "parts"))
    assert [(config.options, config.learning_rate) for config in here.started] == whole


def test_a_trial_that_diverges_counts_and_one_that_fails_is_tried_again(make, here, tmp_path) -> None:  # noqa: F811
    def fail(config: DistillConfig) -> str | None:
        if config.output.name == "trial-001":
            (config.output / "nonfinite").mkdir(parents=True)
            (config.output / "nonfinite/step.pt").touch()
            return "the loss is nan"
        return "out of memory" if config.output.name == "trial-002" else None

    here.fail = staticmethod(fail)
    with pytest.raises(
        ValueError, match=r"1 trials failed; the same command tries them again. cwd-trial-002: out of memory"
    ):
        tune(make(method="cwd"))
    assert yaml.safe_load((tmp_path / "tune/cwd.yaml").read_text())["method"] == "cwd"
    here.fail = staticmethod(lambda config: None)
    here.started.clear()
    assert tune(make(method="cwd"))["cwd"]["ended early"] == 1
    assert names(here.started) == ["trial-002"]


def test_overwrite_and_other_options(make, here, tmp_path) -> None:  # noqa: F811
    tune(make(method="cwd", trials=1))
    with pytest.raises(ValueError, match="started with other options: max_steps was 2 and is 3"):
        tune(make(method="cwd", trials=1, max_steps=3))
    with pytest.raises(FileExistsError, match="holds trials: leave out --no-resume"):
        tune(make(method="cwd", resume=False))
    tune(make(method="cwd", trials=1, max_steps=3, overwrite=True))
    assert [config.max_steps for config in here.started] == [2, 3]


def test_what_is_searched(make) -> None:
    spaces = make(method="cwd,fakd,none,cirkd").spaces
    assert spaces["none"] == {"learning_rate": (0.001, 0.1)}
    assert spaces["cwd"]["weight"] == pytest.approx((0.3, 30))
    assert spaces["cirkd"]["memory_pixel_weight"] == pytest.approx((0.01, 1))
    own = make(search={"strength": "0.5,2", "weight_decay": [1e-5, 1e-3], "learning-rate": None}).spaces
    assert own["fakd"] | {"temperature": 0, "weight": 0} == {
        "strength": (0.5, 2.0),
        "weight_decay": (1e-5, 1e-3),
        "temperature": 0,
        "weight": 0,
    }
    assert "strength" not in own["cwd"]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"search": {"width": "1,2"}}, "search has width; what can be searched here is"),
        ({"search": {"strength": "2,1"}}, "search.strength must be two numbers, the smaller first"),
        ({"search": {"strength": "2"}}, "search.strength must be two numbers"),
        ({"method": "none", "search": {"learning_rate": None}}, "leaves nothing to search for method 'none'"),
        ({"trials": 0}, "trials must be 1 or more, got 0"),
        ({"holdout": 0.0}, "holdout must be above 0"),
        ({"method": "cwd,cwd"}, "method has a name twice"),
        ({"method": "cwdd"}, "there is no method 'cwdd'"),
    ],
)
def test_wrong_options(make, changes, message) -> None:
    with pytest.raises(ValueError, match=message):
        make(**changes)


@pytest.mark.slow
def test_a_search_that_is_killed_goes_on(here, tmp_path) -> None:  # noqa: F811
    """Three trials of toy-scenes, in processes of their own until the search is killed with its run in the middle."""
    words = f"tune --teacher toy-scenes --student {NETWORK} --head-channels 8 --method cwd --trials 3 --max-steps 4"
    words += (
        " --batch-size 2 --crop-size 32 --base-size 64x96 --workers 0 --accelerator cpu --eval-every 2 --holdout 0.02"
    )
    words += f" --checkpoint-every 1 --log-every 1 --output {tmp_path / 'tune'}"
    folder = tmp_path / "tune/cwd"
    first = subprocess.Popen([sys.executable, "-m", "fakd", *words.split()], start_new_session=True)
    deadline = time.monotonic() + 400
    while not (folder / "trial-001/checkpoints/last.ckpt").exists():
        assert first.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.05)
    os.killpg(first.pid, signal.SIGKILL)
    first.wait()
    for lock in folder.glob("trial-*/run.lock"):
        with suppress(FileNotFoundError, ProcessLookupError):  # where it was done that very moment
            os.kill(int(lock.read_text().partition("pid=")[2].split()[0]), signal.SIGKILL)
    here.student = None
    assert main(words.split()) == 0
    again = names(here.started)
    assert "trial-000" not in again  # it was finished; which of the next were not is up to the moment of the kill
    assert "trial-002" in again
    trials = json.loads((tmp_path / "tune/tuning.json").read_text())["cwd"]
    assert trials["trials"] == 3
    found = sorted(path.parent for path in folder.glob("trial-*/results.json"))
    assert [path.name for path in found] == [f"trial-{number:03d}" for number in range(3)]
    tried = {yaml.safe_load((path / "config.yaml").read_text())["learning_rate"] for path in found}
    assert len(tried) == 3
    best = yaml.safe_load((tmp_path / "tune/cwd.yaml").read_text())
    assert best["learning_rate"] == trials["options"]["learning_rate"]


def test_without_optuna(make, monkeypatch) -> None:
    monkeypatch.setattr(command, "find_spec", lambda name: None)
    with pytest.raises(ModuleNotFoundError) as caught:
        make()
    assert str(caught.value).endswith(install_command("tune"))
