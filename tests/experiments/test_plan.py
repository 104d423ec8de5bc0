"""Plans: what they hold, who carries them out, and that the table is the same."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from grid_runs import here  # noqa: F401  # a fixture
from tiny import NETWORK, SETTINGS

from fakd.cli import main
from fakd.commands.compare import CompareConfig, compare
from fakd.commands.run import RunPlanConfig, run
from fakd.experiments.plan import planned_run
from fakd.files.only_writer import BusyError, new_lease, try_to_own
from fakd.training import DistillConfig, TrainConfig, distill


@pytest.fixture
def make(few_scenes: None, teacher_run: Path, tmp_path: Path) -> Callable[..., CompareConfig]:
    def config(**changes: Any) -> CompareConfig:
        own = {"teacher": str(teacher_run), "students": NETWORK, "methods": "none,cwd,pixel", "seeds": 2}
        own |= {"output": tmp_path / "grid", "allow_bad_teacher": True, "max_steps": 2, "eval_every": 2}
        return CompareConfig(**{**SETTINGS, **own, **changes})

    return config


@pytest.fixture
def plan(tmp_path: Path) -> Path:
    return tmp_path / "runs.jsonl"


def test_a_plan_is_carried_out_and_the_same_command_collects(make, here, plan, tmp_path, capsys) -> None:  # noqa: F811
    config = make(method_options={"cwd": {"weight": 2.0}}, scale=(0.5, 1.5), plan=plan)
    assert compare(config) == {}
    assert here.started == []
    assert "6 runs, 6 of them to do; nothing is started" in capsys.readouterr().out
    lines = plan.read_text().splitlines()
    expected = [
        one.config
        for one in make(method_options={"cwd": {"weight": 2.0}}, scale=(0.5, 1.5)).plan_runs(config.arms(), {}).values()
    ]
    assert [planned_run(line, "it").config for line in lines] == expected
    assert run(RunPlanConfig(plan, all=True)) == {}
    assert len(here.started) == 6
    assert compare(config)["rows"][1]["seeds"] == [0, 1]
    kept = json.loads((tmp_path / "grid/comparison.json").read_text())
    assert compare(make(method_options={"cwd": {"weight": 2.0}}, scale=(0.5, 1.5))) == kept
    assert len(here.started) == 6
    assert "--plan" not in kept["command"]


def test_a_teacher_that_is_to_be_trained_is_planned_first(make, here, plan) -> None:  # noqa: F811
    config = make(plan=plan, teacher=None, teacher_network=NETWORK)
    compare(config)
    (line,) = plan.read_text().splitlines()
    assert type(planned_run(line, "it").config) is TrainConfig
    run(RunPlanConfig(plan, all=True))
    compare(config)
    assert len(plan.read_text().splitlines()) == 6


def test_one_run_of_a_plan(make, plan, tmp_path) -> None:
    compare(make(methods="none,cwd", seeds=1, plan=plan))
    assert main(["run", str(plan), "1"]) == 0
    found = json.loads((tmp_path / "grid/cwd-seed0/results.json").read_text())
    assert run(RunPlanConfig(plan, 1)) == found  # finished, and not run again
    assert not (tmp_path / "grid/none-seed0").exists()


def test_a_run_that_is_at_work_is_refused(make, plan, tmp_path, monkeypatch) -> None:
    compare(make(methods="none", seeds=1, plan=plan))
    (tmp_path / "grid/none-seed0").mkdir(parents=True)
    other = new_lease(tmp_path / "grid/none-seed0/run.lock")
    assert try_to_own(other)
    monkeypatch.setenv("COLUMNS", "200")
    with pytest.raises(BusyError, match=r"another process is at work on .*none-seed0"):
        run(RunPlanConfig(plan, 0))
    assert main(["run", str(plan), "0"]) == 75
    other.release()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({}, "an index from 0 on, or else --all"),
        ({"index": 0, "all": True}, "an index from 0 on, or else --all"),
        ({"index": 2}, "has the runs 0 to 1; got 2"),
        ({"index": 0, "jobs": 2}, "engine and jobs are for --all"),
        ({"all": True, "jobs": 0}, "jobs must be 1 or more"),
        ({"all": True, "cpus": 1}, "ray_address and cpus are for --engine ray"),
        ({"all": True, "engine": "ray", "jobs": 1}, "jobs is for --engine local"),
    ],
)
def test_mistakes(make, plan, options, message) -> None:
    compare(make(methods="none", plan=plan))
    with pytest.raises(ValueError, match=message):
        run(RunPlanConfig(plan, **options))


def test_files_that_are_no_plans(make, plan, capsys) -> None:
    plan.write_text("my notes\n")
    with pytest.raises(ValueError, match=r"is no plan: expected a file that `fakd compare --plan` wrote"):
        compare(make(plan=plan))
    assert plan.read_text() == "my notes\n"
    plan.write_text('{"dataset": "toy-scenes", "teacher": "x", "strenth": 1}\n')
    with pytest.raises(ValueError, match="strenth"):
        run(RunPlanConfig(plan, 0))
    assert main(["run", "nowhere.jsonl", "--all"]) == 1
    assert "nowhere.jsonl" in capsys.readouterr().err


def test_srun_shares_the_runs_among_its_tasks(make, here, plan, monkeypatch) -> None:  # noqa: F811
    """As srun sets its variables; without `--all` the tasks would be the ranks of one run."""
    compare(make(plan=plan))
    for name, value in {"SLURM_STEP_NUM_TASKS": "3", "SLURM_NTASKS_PER_NODE": "3", "SLURM_PROCID": "2"}.items():
        monkeypatch.setenv(name, value)
    here.before = staticmethod(lambda config: monkeypatch.delenv("SLURM_PROCID", raising=False))  # as a run's own
    run(RunPlanConfig(plan, all=True))
    assert [config.output.name for config in here.started] == [
        "pixel-seed0",
        "none-seed1",
        "cwd-seed1",
        "pixel-seed1",
        "none-seed0",
        "cwd-seed0",
    ]
    assert {config.devices for config in here.started} == {1}
    monkeypatch.setenv("SLURM_STEP_NUM_TASKS", "3")
    with pytest.raises(ValueError, match="srun started 3 tasks, and one must delete runs"):
        make(overwrite=True)
    for name, value in {"TORCHELASTIC_RUN_ID": "x", "WORLD_SIZE": "2", "LOCAL_WORLD_SIZE": "2"}.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(ValueError, match="start it without torchrun, and give it --devices"):
        make()


SBATCH = """#!{python}
import os, subprocess, sys
script = sys.argv[-1]
(line,) = [line for line in open(script) if line.startswith("#SBATCH --array=")]
first, last = map(int, line.partition("=")[2].split("-"))
job = {{**os.environ, "SLURM_JOB_ID": "7", "SLURM_NTASKS": "1", "SLURM_PROCID": "0"}}
tasks = [
    subprocess.Popen(["bash", "-eu", script], env={{**job, "SLURM_ARRAY_TASK_ID": str(number)}})
    for number in range(first, last + 1)
]
sys.exit(max(task.wait() for task in tasks))
"""
"""Starts the tasks of an array, all at once."""
SRUN = '#!/bin/sh\nSLURM_STEP_NUM_TASKS=1 SLURM_STEP_NUM_NODES=1 exec "$@"\n'
# Three of these do all six runs: each tries every run, and leaves those that others are at work on.
FAKD = """#!{python}
import sys
import fakd.files.only_writer as only_writer
from tiny import SMALL
from fakd.cli import main
from fakd.data import DATASETS
DATASETS["toy-scenes"] = SMALL
only_writer.BEAT = 0.3
command, plan, number = sys.argv[1:]
for place in range(6):
    status = main([command, plan, str((int(number) * 2 + place) % 6)])
    assert status in (0, 75), status
"""


@pytest.mark.slow
def test_an_array_of_three_tasks_gives_the_table_of_one_process(few_scenes, teacher_run, plan, tmp_path) -> None:
    """The script of docs/scaling.md as printed, with stand-ins for sbatch and srun."""
    own = {"teacher": str(teacher_run), "students": NETWORK, "methods": "none,cwd,pixel", "seeds": 2}
    own |= {"allow_bad_teacher": True, "max_steps": 2, "eval_every": 2, "check_data": False}
    config = CompareConfig(**{**SETTINGS, **own, "output": tmp_path / "grid", "plan": plan})
    assert compare(config) == {}
    page = Path(__file__).parents[2] / "docs/scaling.md"
    (script,) = [code for code in page.read_text().split("```") if "#SBATCH --array" in code]
    assert script.startswith("bash\n")
    (tmp_path / "array.sh").write_text(script.removeprefix("bash\n").replace("0-219", "0-2"))
    programs = tmp_path / "bin"
    programs.mkdir()
    for name, text in (("sbatch", SBATCH), ("srun", SRUN), ("fakd", FAKD)):
        (programs / name).write_text(text.format(python=sys.executable))
        (programs / name).chmod(0o755)
    environment = {**os.environ, "PATH": f"{programs}{os.pathsep}{os.environ['PATH']}", "OMP_NUM_THREADS": "1"}
    tests = str(Path(__file__).parents[1])
    environment["PYTHONPATH"] = os.pathsep.join([tests, *filter(None, [os.environ.get("PYTHONPATH")])])
    subprocess.run([programs / "sbatch", "array.sh"], cwd=tmp_path, env=environment, check=True, timeout=500)
    rows = compare(config)["rows"]
    starts = [len(list(folder.glob("logs/csv/*"))) for folder in (tmp_path / "grid").glob("*-seed*")]
    assert starts == [1] * 6
    for folder in (tmp_path / "grid").glob("*-seed*"):  # the same again, one after the other
        line = next(line for line in plan.read_text().splitlines() if f'{folder.name}"' in line)
        again = planned_run(line.replace(str(tmp_path / "grid"), str(tmp_path / "here")), "it").config
        assert isinstance(again, DistillConfig)
        distill(again)
    alone = compare(CompareConfig(**{**SETTINGS, **own, "output": tmp_path / "here"}))["rows"]
    same = ("label", "mIoU", "mAcc", "mIoU_sd", "mIoU_difference", "parameters", "steps", "seeds")
    assert [[row[name] for name in same] for row in rows] == [[row[name] for name in same] for row in alone]
