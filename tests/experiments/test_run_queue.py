"""Many runs in processes of their own: what stays, what goes on, what is reported."""

import json
import os
import signal
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
import yaml

from fakd.analysis.run_options import run_config
from fakd.experiments import local_engine, run_process, run_queue
from fakd.experiments.engines import EngineConfig
from fakd.experiments.local_engine import device_groups, threads_each
from fakd.experiments.planned_run import PlannedRun
from fakd.experiments.run_queue import run_all
from fakd.files.only_writer import new_lease, try_to_own
from fakd.training import DistillConfig

# Stands in for `python -m fakd`, without the seconds that PyTorch takes to start.
STAND_IN = """
    import json, os, pathlib, signal, sys, time
    command, _, text = sys.argv[1:]
    config = json.loads(text)
    run = pathlib.Path(config["output"])
    method, seed = config["method"], config["seed"]
    run.mkdir(parents=True, exist_ok=True)
    (run / "config.yaml").write_text(json.dumps({**config, "resume": False}))
    with (run / "starts").open("a") as file:
        file.write("x")
    variables = {name: os.environ.get(name) for name in ("OMP_NUM_THREADS", "CUDA_VISIBLE_DEVICES")}
    (run / "environment.json").write_text(json.dumps([time.time(), variables]))
    if method == "pixel":
        print("Traceback\\nerror: the teacher is no good", file=sys.stderr)
        sys.exit(1)
    if method == "fitnet":
        print("something odd: 1")
        sys.exit(3)
    if method == "at":
        os.kill(os.getpid(), signal.SIGKILL)
    if method == "cwd" and not (run / "half").exists():  # goes on until it is stopped, and is done at the next start
        (run / "half").write_text("")
        def stop(*_):
            (run / "told").write_text("")
            sys.exit(130)
        signal.signal(signal.SIGTERM, stop)
        print("step 1", flush=True)
        time.sleep(60)
    time.sleep(0.3 if method == "fakd" else 0)
    (run / "ended").write_text(str(time.time()))
    (run / "results.json").write_text('{"mIoU": 12.345, "mAcc": 2, "seconds": 3}')
"""


@pytest.fixture
def stand_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "program.py").write_text(textwrap.dedent(STAND_IN))
    monkeypatch.setattr(run_process, "PROGRAM", (sys.executable, str(tmp_path / "program.py")))
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)


@pytest.fixture
def make(distill_config: Callable[..., DistillConfig], tmp_path: Path) -> Callable[..., PlannedRun]:
    def planned(method: str, seed: int = 0, **changes: object) -> PlannedRun:
        name = f"{method}-seed{seed}"
        changes = {"resume": True, "output": tmp_path / "grid" / name, **changes}
        return PlannedRun(name, distill_config(method=method, seed=seed, **changes))

    return planned


def starts(planned: PlannedRun) -> int:
    path = planned.folder.root / "starts"
    return len(path.read_text()) if path.exists() else 0


def test_failures_are_reported_and_stop_no_other(stand_in, make, capsys) -> None:
    grid = [make(method) for method in ("pixel", "none", "fitnet", "at", "fakd")]
    failures = run_all(grid, EngineConfig())
    assert [(failure.name, failure.reason) for failure in failures] == [
        ("pixel-seed0", "the teacher is no good"),
        ("fitnet-seed0", "something odd: 1"),
        ("at-seed0", "ended by SIGKILL; the system may have run out of memory"),
    ]
    assert [planned.finished for planned in grid] == [False, True, False, False, True]
    assert failures[0].log == grid[0].folder.root.parent / "pixel-seed0.log"
    assert "error: the teacher is no good" in failures[0].log.read_text()
    said = capsys.readouterr().out
    assert "finished  none-seed0  mIoU 12.35  mAcc 2.00  in 3 s" in said
    assert f"failed    pixel-seed0: the teacher is no good  (log: {failures[0].log})" in said


def test_finished_runs_are_not_run_again(stand_in, make, capsys) -> None:
    grid = [make("none"), make("fakd"), make("pixel")]
    run_all(grid[:1], EngineConfig())
    assert len(run_all(grid, EngineConfig())) == 1
    assert len(run_all(grid, EngineConfig())) == 1
    assert [starts(planned) for planned in grid] == [1, 1, 2]  # what failed is tried again
    assert "2 of 3 runs are finished already" in capsys.readouterr().out
    (failure,) = run_all(grid, EngineConfig())
    assert failure.reason == "the teacher is no good"
    assert failure.log.read_text().count("error: ") == 3


def test_other_options_are_refused_before_anything_runs(stand_in, make) -> None:
    run_all([make("none")], EngineConfig())
    changed, other = make("none", max_steps=5), make("fakd")
    with pytest.raises(ValueError, match="max_steps was 4 and is 5"):
        run_all([other, changed], EngineConfig())
    with pytest.raises(FileExistsError, match="not empty"):
        run_all([other, make("none", resume=False)], EngineConfig())
    assert starts(other) == 0


def test_side_by_side(stand_in, make, monkeypatch) -> None:
    grid = [make("fakd", seed) for seed in range(4)]
    assert run_all(grid, EngineConfig(jobs=2)) == []
    times = [
        (
            json.loads((planned.folder.root / "environment.json").read_text())[0],
            float((planned.folder.root / "ended").read_text()),
        )
        for planned in grid
    ]
    assert times[1][0] < times[0][1]  # the second began before the first ended
    assert all(sum(begun <= moment < ended for begun, ended in times) <= 2 for moment, _ in times)
    (_, variables) = json.loads((grid[0].folder.root / "environment.json").read_text())
    assert variables["OMP_NUM_THREADS"] == str(max(1, os.cpu_count() // 2))


def test_gpus_are_shared_out(stand_in, make, monkeypatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 5)
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    assert device_groups("auto", 1, None) == ["0", "1", "2", "3", "4"]
    assert device_groups("gpu", 2, None) == ["0,1", "2,3"]
    assert device_groups("auto", 2, 3) == ["0,1", "2,3", "0,1"]
    assert device_groups("cpu", 1, None) == [None]
    with pytest.raises(ValueError, match="devices is 6, but there are only 5 GPUs"):
        device_groups("auto", 6, None)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "7, 3")
    assert device_groups("auto", 1, None) == ["7", "3"]
    grid = [make("none", seed, accelerator="auto") for seed in range(2)]
    assert run_all(grid, EngineConfig()) == []
    seen = [json.loads((planned.folder.root / "environment.json").read_text())[1] for planned in grid]
    assert [variables["CUDA_VISIBLE_DEVICES"] for variables in seen] == ["7", "3"]


def test_without_gpus(monkeypatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert device_groups("auto", 1, None) == [None]
    assert device_groups("auto", 1, 3) == [None] * 3
    monkeypatch.setattr(local_engine, "free_cores", lambda: 8)
    assert [threads_each(jobs) for jobs in (1, 3, 100)] == [8, 2, 1]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_stopped_and_gone_on_with(stand_in, make, tmp_path, capsys, number) -> None:
    grid = [make("none"), make("cwd"), make("fakd")]
    before = signal.getsignal(number)
    watcher = subprocess.Popen(  # sends the signal once the second run is under way
        [
            "sh",
            "-c",
            f"while [ ! -e {grid[1].folder.root}/half ]; do sleep 0.05; done; kill -{int(number)} {os.getpid()}",
        ]
    )
    began = time.monotonic()
    assert run_all(grid, EngineConfig()) is None
    assert watcher.wait() == 0
    assert time.monotonic() - began < 20  # it did not wait for the end
    assert "stopped with 1 of 3 runs finished; go on with the same command" in capsys.readouterr().out
    assert [starts(planned) for planned in grid] == [1, 1, 0]
    assert signal.getsignal(number) is before
    assert run_all(grid, EngineConfig()) == []
    assert [starts(planned) for planned in grid] == [1, 2, 1]


def test_a_run_that_another_process_does_is_waited_for_and_what_it_leaves_is_done(stand_in, make, tmp_path) -> None:
    """As after the comparison itself was killed, or where the same one was started twice."""
    grid = [make("fakd"), make("none")]
    folder = grid[0].folder
    folder.root.mkdir(parents=True)
    other = new_lease(folder.lock)
    assert try_to_own(other)
    assert run_all(grid, EngineConfig(), others=False) == []
    assert [one.finished for one in grid] == [False, True]
    assert starts(grid[0]) == 0
    threading.Timer(0.5, other.release).start()
    assert run_all(grid, EngineConfig()) == []
    assert [starts(one) for one in grid] == [1, 1]


def test_a_run_that_is_busy_only_when_it_is_started_is_none_that_failed(stand_in, make, monkeypatch, tmp_path) -> None:
    busy = tmp_path / "busy.py"
    busy.write_text("print('error: another process is at work on it')\nraise SystemExit(75)")
    monkeypatch.setattr(run_process, "PROGRAM", (sys.executable, str(busy)))
    assert run_all([make("none")], EngineConfig(), others=False) == []


def test_nobody_is_left_behind_when_the_parent_fails(stand_in, make, monkeypatch) -> None:
    grid = [make("cwd")]

    def fail(futures: object) -> str:
        if (grid[0].folder.root / "half").exists():
            time.sleep(0.2)
            raise OSError("disk full")
        return ""

    monkeypatch.setattr(run_queue, "_note", fail)
    began = time.monotonic()
    with pytest.raises(OSError, match="disk full"):
        run_all(grid, EngineConfig())
    assert time.monotonic() - began < 20
    assert (grid[0].folder.root / "told").exists()


def test_a_log_that_cannot_be_written_fails_its_run_alone(stand_in, make) -> None:
    grid = [make("none"), make("fakd")]
    grid[0].log.mkdir(parents=True)
    (failure,) = run_all(grid, EngineConfig())
    assert "Is a directory" in failure.reason
    assert grid[1].finished


def test_config_of_a_stand_in_is_that_of_the_run(stand_in, make) -> None:
    (planned,) = [make("none", options={})]
    run_all([planned], EngineConfig())
    assert yaml.safe_load(planned.folder.config.read_text()) == {**planned.config.to_dict(), "resume": False}
    assert run_config(json.loads(planned.line), "a line") == planned.config


def test_several_devices_share_the_cores(stand_in, make, monkeypatch) -> None:
    monkeypatch.setattr(local_engine, "free_cores", lambda: 12)
    planned = make("none", devices=2)
    assert run_all([planned], EngineConfig()) == []
    (_, variables) = json.loads((planned.folder.root / "environment.json").read_text())
    assert variables["OMP_NUM_THREADS"] == "6"
