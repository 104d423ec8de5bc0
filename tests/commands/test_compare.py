"""A comparison from its options to its tables, and what it does when runs fail, stop, or are there already."""

import csv
import json
import os
import shutil
import signal
import time
from collections.abc import Callable
from importlib.metadata import entry_points
from pathlib import Path
from statistics import mean, stdev
from typing import Any

import pytest
import yaml
from brought import install
from grid_runs import RunHere, here, names  # noqa: F401  # a fixture
from PIL import Image
from scipy import stats
from tiny import NETWORK, SETTINGS

from fakd.cli import parse
from fakd.commands.compare import CompareConfig, compare
from fakd.experiments import step_time
from fakd.experiments.run_process import RunProcess
from fakd.experiments.run_queue import FailedRunsError
from fakd.experiments.step_time import steps_within
from fakd.methods import METHODS
from fakd.models import load_model
from fakd.models.cost import measure_cost
from fakd.training import TrainConfig
from fakd.training.resuming import prepare_folder


@pytest.fixture
def make(few_scenes: None, teacher_run: Path, tmp_path: Path) -> Callable[..., CompareConfig]:
    def config(**changes: Any) -> CompareConfig:
        own = {"teacher": str(teacher_run), "students": NETWORK, "methods": "none,cwd", "seeds": 2}
        own |= {"output": tmp_path / "grid", "allow_bad_teacher": True, "max_steps": 2, "eval_every": 2}
        return CompareConfig(**{**SETTINGS, **own, **changes})

    return config


def test_table_of_a_comparison(make, here, tmp_path, teacher_run, capsys) -> None:  # noqa: F811
    here.student = None
    content = compare(make(methods="none,cwd,fakd", method_options={"cwd": {"weight": "0.5"}}))
    assert names(here.started) == [f"{method}-seed{seed}" for seed in (0, 1) for method in ("none", "cwd", "fakd")]
    results = {
        (method, seed): json.loads((tmp_path / f"grid/{method}-seed{seed}/results.json").read_text())
        for method in ("none", "cwd", "fakd")
        for seed in (0, 1)
    }
    with (tmp_path / "grid/comparison.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["label"] for row in rows] == ["teacher", "student alone", "cwd weight 0.5", "fakd"]
    teacher, _, cwd, _ = rows
    assert float(teacher["mIoU"]) == pytest.approx(results["cwd", 0]["teacher"]["mIoU"])
    assert float(teacher["seconds"]) == json.loads((teacher_run / "results.json").read_text())["seconds"]
    ours, theirs = ([results[method, seed]["mIoU"] for seed in (0, 1)] for method in ("cwd", "none"))
    assert float(cwd["mIoU"]) == pytest.approx(mean(ours))
    assert float(cwd["mIoU_sd"]) == pytest.approx(stdev(ours))
    interval = stats.ttest_rel(ours, theirs).confidence_interval(0.95)
    assert float(cwd["mIoU_difference"]) == pytest.approx(mean(ours) - mean(theirs))
    assert [float(cwd["mIoU_low"]), float(cwd["mIoU_high"])] == pytest.approx([interval.low, interval.high])
    cost = measure_cost(load_model(tmp_path / "grid/cwd-seed0")[0], (32, 32))
    assert (int(cwd["parameters"]), float(cwd["gmacs"])) == (cost.parameters, pytest.approx(cost.macs / 1e9))
    assert float(cwd["peak_memory"]) > 2**20
    assert content == json.loads((tmp_path / "grid/comparison.json").read_text())
    assert content["rows"][2]["options"] == {"weight": 0.5}
    assert yaml.safe_load((tmp_path / "grid/cwd-seed1/config.yaml").read_text())["options"] == {"weight": 0.5}
    page = (tmp_path / "grid/comparison.md").read_text()
    assert "--method-options.cwd.weight 0.5" in page
    assert f"| cwd weight 0.5 | 2 | {mean(ours):.2f} ± {stdev(ours):.2f} |" in page
    (tmp_path / "grid/cwd-seed0/student.safetensors").unlink()  # of a kept run, whose scores are enough
    again = compare(make(methods="none,cwd,fakd", method_options={"cwd": {"weight": "0.5"}}))
    assert [row["gmacs"] for row in again["rows"]] == [row["gmacs"] for row in content["rows"]]
    assert "images 8" not in page
    assert r"\begin{tabular}{lrrrrrrrrrr}" in (tmp_path / "grid/comparison.tex").read_text()
    assert max(len(line) for line in capsys.readouterr().out.splitlines() if "±" in line) <= 80


@pytest.mark.parametrize("labelled", [True, False])
def test_with_images_that_nobody_labelled(make, here, tmp_path, labelled) -> None:  # noqa: F811
    """The student alone has no use for them; where nothing is labelled, no score is called mIoU."""
    here.student = None
    photos = tmp_path / "photos"
    photos.mkdir()
    for number in range(4):
        Image.effect_noise((72, 48), 50 + number).convert("RGB").save(photos / f"{number}.png")
    data = {"dataset": "toy-scenes", "methods": "none,cwd"} if labelled else {"methods": "cwd", "baseline": "cwd"}
    config = make(**data, unlabelled=[str(photos)], unlabelled_batch=2, seeds=1)
    content = compare(config)
    assert [run.unlabelled for run in here.started] == [None, [str(photos)]][-len(here.started) :]
    page = (tmp_path / "grid/comparison.md").read_text()
    assert f"| images without labels | `{photos}`, 2 crops a step |" in page
    assert ("agreement with the teacher" in page) != labelled
    assert ("mIoU" in page) == labelled
    assert content.get("scored_against") == (None if labelled else "teacher")
    assert parse(config.command_line("compare")[1:])[1].unlabelled == [str(photos)]


def test_photos_alone_need_a_teacher_and_methods_that_learn_from_it(make, here, tmp_path) -> None:  # noqa: F811
    with pytest.raises(ValueError, match="a teacher is trained on labels: say by --dataset where they are"):
        make(unlabelled=["x"], teacher=None, teacher_network=NETWORK)
    with pytest.raises(ValueError, match="method 'none' asks nothing of a teacher"):
        make(unlabelled=["x"])


def test_command_on_the_page_asks_for_the_same(make, here, tmp_path) -> None:  # noqa: F811
    config = make(
        method_options={"cwd": {"weight": 2}}, scale=(0.5, 1.5), learning_rate=0.00003, flip=True, seeds="3,1"
    )
    assert parse(config.command_line("compare")[1:])[1] == config


def test_finished_runs_stay_and_more_seeds_come_to_them(make, here, tmp_path) -> None:  # noqa: F811
    compare(make())
    before = (tmp_path / "grid/comparison.csv").read_text()
    here.started.clear()
    compare(make())
    assert here.started == []
    assert (tmp_path / "grid/comparison.csv").read_text() == before
    compare(make(seeds=3, methods="none,cwd,pixel"))
    assert names(here.started) == ["pixel-seed0", "pixel-seed1", "none-seed2", "cwd-seed2", "pixel-seed2"]
    with pytest.raises(ValueError, match="max_steps was 2 and is 3"):
        compare(make(max_steps=3))
    with pytest.raises(FileExistsError, match="not empty"):
        compare(make(resume=False))


def test_overwrite_deletes_these_runs_alone(make, here, tmp_path) -> None:  # noqa: F811
    compare(make())
    here.started.clear()
    prepare_folder(TrainConfig(output=tmp_path / "grid/pilot/cwd"))
    mine = [
        tmp_path / "grid" / name for name in ("notes.md", "pilot/mine.txt", "pilot/cwd/mine.txt", "none-seed0/mine.md")
    ]
    for path in (*mine, tmp_path / "grid/pilot/cwd.log"):
        path.write_text("1")
    compare(make(methods="none", overwrite=True, max_steps=3))
    assert all(path.is_file() for path in mine)
    assert sorted(path.name for path in (tmp_path / "grid/pilot").rglob("*")) == ["cwd", "mine.txt", "mine.txt"]
    assert names(here.started) == ["none-seed0", "none-seed1"]
    assert (tmp_path / "grid/cwd-seed0/results.json").is_file()
    shutil.rmtree(tmp_path / "grid/none-seed0")
    (tmp_path / "grid/none-seed0").mkdir()
    (tmp_path / "grid/none-seed0/thesis.txt").write_text("years of work")
    (tmp_path / "grid/none-seed0/config.yaml").write_text("of: another program")
    with pytest.raises(FileExistsError, match="no run; it is not deleted"):
        compare(make(methods="none", overwrite=True))
    assert (tmp_path / "grid/none-seed1/results.json").is_file()


def test_killed_comparison_goes_on_where_it_was(make, here, tmp_path) -> None:  # noqa: F811
    class Killed(BaseException):
        pass

    def kill(config: Any) -> None:
        if names([config]) == ["none-seed1"] and len(here.started) == 3:
            raise Killed

    here.before = staticmethod(kill)
    with pytest.raises(Killed):
        compare(make())
    assert not (tmp_path / "grid/comparison.md").exists()
    compare(make())
    assert names(here.started)[:3] == ["none-seed0", "cwd-seed0", "none-seed1"]
    assert sorted(names(here.started)) == ["cwd-seed0", "cwd-seed1", "none-seed0", "none-seed1", "none-seed1"]
    assert (tmp_path / "grid/comparison.md").is_file()


def test_stopped_by_the_user(make, here, tmp_path, capsys) -> None:  # noqa: F811
    def stop(config: Any) -> None:
        if len(here.started) == 2:
            os.kill(os.getpid(), signal.SIGTERM)
            time.sleep(1)  # in which the other thread hears it

    here.before = staticmethod(stop)
    assert compare(make()) is None
    assert "stopped with 2 of 4 runs finished; go on with the same command" in capsys.readouterr().out
    assert not (tmp_path / "grid/comparison.md").exists()


def test_failed_runs_are_listed_under_the_table_of_the_others(make, here, tmp_path) -> None:  # noqa: F811
    def fail(config: Any) -> str | None:
        return "out of luck" if config.method == "cwd" and config.seed in wrong else None

    here.fail, wrong = staticmethod(fail), {1}
    with pytest.raises(FailedRunsError, match=r"1 of 4 runs failed.*cwd-seed1: out of luck \(log: .*cwd-seed1.log\)"):
        compare(make())
    page = (tmp_path / "grid/comparison.md").read_text()
    assert f"- cwd-seed1: out of luck (`{tmp_path}/grid/cwd-seed1.log`)" in page
    (row,) = [line for line in page.splitlines() if line.startswith("| cwd |")]
    assert row.split("|")[2].strip() == "1"
    assert "[-] |" in row  # one common seed gives no interval
    wrong |= {0}
    shutil.rmtree(tmp_path / "grid/cwd-seed0")
    with pytest.raises(FailedRunsError, match="2 of 4 runs failed"):
        compare(make())
    assert "| cwd |" not in (tmp_path / "grid/comparison.md").read_text()
    wrong.clear()
    assert compare(make())["failed"] == []
    assert "Runs that failed" not in (tmp_path / "grid/comparison.md").read_text()


def test_teacher_is_trained_once_with_its_own_options(make, here, tmp_path) -> None:  # noqa: F811
    own = {"max_steps": 3, "crop-size": "48,40"}
    changes = {"teacher": None, "teacher_network": NETWORK, "teacher_options": own, "seeds": "5", "head_channels": 4}
    compare(make(methods="none", **changes))
    compare(make(methods="none", **{**changes, "seeds": "5,6"}))
    assert names(here.started)[0] == "teacher"
    assert names(here.started).count("teacher") == 1
    trained = yaml.safe_load((tmp_path / "grid/teacher/config.yaml").read_text())
    assert (trained["max_steps"], trained["crop_size"], trained["head_channels"]) == (3, [48, 40], None)
    assert trained["batch_size"] == SETTINGS["batch_size"]
    assert "trained for 3 steps with crop_size 48x40" in (tmp_path / "grid/comparison.md").read_text()


def test_teacher_that_fails_stops_all(make, here) -> None:  # noqa: F811
    here.fail = staticmethod(lambda config: "no memory")
    with pytest.raises(FailedRunsError, match=r"The students need it.*teacher: no memory"):
        compare(make(teacher=None, teacher_network=NETWORK))
    assert names(here.started) == ["teacher"]


def test_several_students(make, here, tmp_path) -> None:  # noqa: F811
    here.student = None
    content = compare(make(students=[NETWORK, "pspnet/test_efficientnet"], seeds=1, max_steps=1, eval_every=1))
    folders = ["pspnet-test_resnet.r160_in1k", "pspnet-test_efficientnet"]
    assert all((tmp_path / f"grid/{folder}/cwd-seed0/results.json").is_file() for folder in folders)
    assert len({row["gmacs"] for row in content["rows"]}) == 2  # the teacher is the first student's network
    assert [row["compared_with"] for row in content["rows"]] == [None, None, "student alone", None, "student alone"]
    assert "| cwd | pspnet/test_efficientnet | 1 |" in (tmp_path / "grid/comparison.md").read_text()


def test_order_of_rows(make, here) -> None:  # noqa: F811
    methods = "none,cwd,pixel,fakd"
    by_score = compare(make(methods=methods, seeds=1, sort="mIoU"))["rows"]
    assert [row["mIoU"] for row in by_score[1:]] == sorted((row["mIoU"] for row in by_score[1:]), reverse=True)
    by_time = compare(make(methods=methods, seeds=1, sort="time"))["rows"]
    assert [row["seconds"] for row in by_time[1:]] == sorted(row["seconds"] for row in by_time[1:])
    assert [rows[0]["label"] for rows in (by_score, by_time)] == ["teacher"] * 2


def test_budget_in_minutes(make, here, tmp_path, monkeypatch) -> None:  # noqa: F811
    monkeypatch.setattr(step_time, "STEPS", 12)
    monkeypatch.setattr(step_time, "_measured", lambda logs: {"none": 0.5, "cwd": 2.0}[logs.parent.name])
    changes = {"budget": "minutes", "minutes": 0.1, "seeds": 1, "eval_every": None}
    content = compare(make(**changes))
    assert [row["steps"] for row in content["rows"][1:]] == [12, 3]
    assert json.loads((tmp_path / "grid/budget.json").read_text()) == {"none": 0.5, "cwd": 2.0}
    assert not (tmp_path / "grid/pilot").exists()
    assert len(here.started) == 4
    compare(make(**changes))
    assert len(here.started) == 4  # neither measured nor run again
    page = (tmp_path / "grid/comparison.md").read_text()
    assert "0.1 minutes of training for every method, by a short run of each: student alone 12, cwd 3 steps" in page


def test_what_a_step_takes_is_measured(make, here, tmp_path) -> None:  # noqa: F811
    here.student = None
    config = make(methods="none", seeds=1, budget="minutes", minutes=1e-3)
    seconds = step_time.seconds_per_step(config, config.arms())
    assert here.started[0].max_steps == step_time.STEPS
    assert 0.001 < seconds["none"] < 5
    assert steps_within(2, {"a": 0.5, "b": 500}) == {"a": 240, "b": 1}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"teacher": None}, "say which teacher: --teacher"),
        ({"teacher_network": NETWORK}, "say which teacher: --teacher"),
        ({"teacher_options": {"max_steps": 3}}, "give --teacher-network"),
        (
            {"teacher": None, "teacher_network": NETWORK, "teacher_options": {"max_step": 3}},
            "max_step.* from teacher_options",
        ),
        ({"teacher": None, "teacher_network": NETWORK, "teacher_options": {"max_steps": "x"}}, '"x" into int'),
        ({"methods": "none,kd"}, "there is no method 'kd'"),
        ({"methods": "none,cwd,cwd"}, "methods has cwd twice"),
        ({"methods": "none,,cwd"}, "with commas in between"),
        ({"methods": "cwd,fakd"}, "baseline 'none' is none of the methods"),
        ({"method_options": {"fakd": {"bound": "tight"}}}, "method_options are given for fakd"),
        ({"method_options": {"cwd": {"strength": 1}}}, "method 'cwd' has no option strength"),
        ({"method_options": {"cwd": {"weight": "heavy"}}}, "option weight of method 'cwd': .*heavy"),
        ({"seeds": 0}, "one or more different numbers"),
        ({"seeds": "1,x"}, "seeds must be a count, as 3, or a list"),
        ({"seeds": [1, 1]}, "one or more different numbers"),
        ({"budget": "minutes"}, "needs --minutes above 0"),
        ({"minutes": 3}, "add --budget minutes"),
        ({"jobs": 0}, "jobs must be 1 or more"),
        ({"max_steps": 0}, "max_steps must be 1 or more"),
        ({"crop_size": (0, 3)}, "crop_size must be a height and a width"),
    ],
)
def test_mistakes_are_found_before_anything_runs(make, here, changes, message) -> None:  # noqa: F811
    with pytest.raises(ValueError, match=message):
        make(**changes)


def test_mistakes_about_folders(make, here, tmp_path, teacher_run) -> None:  # noqa: F811
    with pytest.raises(FileNotFoundError, match="no-teacher"):
        compare(make(teacher=str(tmp_path / "no-teacher")))
    with pytest.raises(ValueError, match="holds the teacher"):
        make(output=teacher_run.parent, overwrite=True)
    assert make(output=teacher_run.parent).teacher_path == str(teacher_run)  # where nothing is deleted, it may
    with pytest.raises(ValueError, match="is a run"):
        make(output=teacher_run)
    assert here.started == []


BROUGHT = """
from fakd.methods import PixelKD

class Refusing(PixelKD):
    def __init__(self, student, teacher, *, max_steps: int, share: float = 0.5) -> None:
        super().__init__(student, teacher, max_steps=max_steps)
        self.share = share

    def forward(self, student_output, teacher_output, labels, step, **images):
        super().forward(student_output, teacher_output, labels, step)
        raise ValueError(f"{self.share} of step {step} is refused")
"""


@pytest.mark.slow
def test_a_method_of_an_installed_package_in_a_process_of_its_own(teacher_run, tmp_path, monkeypatch) -> None:
    """With the real command: nothing but the package tells it the method, and it says itself what went wrong."""
    site = tmp_path / "site"
    install(site, {"fakd.methods": {"refusing": "refusing:Refusing"}})
    (site / "refusing.py").write_text(BROUGHT)
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(site), *filter(None, [os.environ.get("PYTHONPATH")])]))
    monkeypatch.syspath_prepend(site)
    monkeypatch.setattr(METHODS, "_brought", {entry.name: [entry] for entry in entry_points(group="fakd.methods")})
    own = {"methods": "refusing", "baseline": "refusing", "method_options": {"refusing": {"share": "0.25"}}, "seeds": 1}
    own |= {"students": NETWORK, "teacher": str(teacher_run), "output": tmp_path / "grid", "allow_bad_teacher": True}
    own |= {"base_size": (48, 72)}
    try:
        with pytest.raises(FailedRunsError, match=r"refusing-seed0: 0\.25 of step 0 is refused"):
            compare(CompareConfig(**{**SETTINGS, **own, "check_data": False}))
    finally:
        METHODS.data.pop("refusing", None)
    assert "Traceback" not in (tmp_path / "grid/refusing-seed0.log").read_text()


def test_run_here_is_what_a_process_is() -> None:
    public = {name for name in dir(RunHere) if not name.startswith("_")} - {"started", "fail", "before", "student"}
    assert public == {"wait", "stop"}
    assert public < set(dir(RunProcess))
