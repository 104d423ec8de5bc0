"""A run of several processes ends as one of a single process does, and all of them end together."""

import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import ranks
import torch
from torch import Tensor
from torch.testing import assert_close

from fakd.analysis.runs import read_metrics
from fakd.data import DATASETS, Sample
from fakd.data.batches import SegmentationData
from fakd.evaluation import evaluate_model, scores_from_confusion
from fakd.methods import METHODS, create_method
from fakd.models import create_model, load_model
from fakd.training.learner import Learner

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not sys.platform.startswith("linux"), reason="starts torchrun, and looks into /proc"),
]
HERE = Path(__file__).parent
TORCHRUN = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]


def environment() -> dict[str, str]:
    # gloo asks for the machine by its name, which need not be known to the network
    path = os.pathsep.join([str(HERE.parent), *filter(None, [os.environ.get("PYTHONPATH")])])
    return {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": path, "GLOO_SOCKET_IFNAME": "lo"}


@pytest.fixture(scope="module")
def two(tmp_path_factory: pytest.TempPathFactory, teacher_run: Path) -> tuple[Path, str]:
    """The folder of the runs by two processes, and what they printed."""
    folder = tmp_path_factory.mktemp("two")
    command = [sys.executable, str(HERE / "ranks.py"), str(folder), str(teacher_run)]
    done = subprocess.run(command, env=environment(), capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stdout + done.stderr
    return folder, done.stdout


@pytest.fixture
def one(request, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, teacher_run: Path, few_scenes: None) -> Path:
    """The folder of the FAKD run, or of another, by this process alone."""
    return by_one(getattr(request, "param", "fakd"), monkeypatch, tmp_path, teacher_run)


def by_one(name: str, monkeypatch: pytest.MonkeyPatch, folder: Path, teacher: Path) -> Path:
    ranks.freeze_statistics(monkeypatch.setattr)
    ranks.run(name, folder, teacher)
    return folder / name


def checkpoint(root: Path) -> dict[str, Any]:
    loaded: dict[str, Any] = torch.load(root / "checkpoints/last.ckpt", weights_only=True)
    return loaded


def relative(ours: Tensor, theirs: Tensor) -> float:
    """How far ours is from theirs, as a share of its length."""
    return float((ours.double() - theirs.double()).norm() / theirs.double().norm().clamp_min(1e-12))


@pytest.mark.parametrize("one", ["fakd", "unlabelled"], indirect=True)
def test_gradient_and_covariance_are_those_of_one_process(two, one) -> None:
    ours, theirs = checkpoint(two[0] / one.name), checkpoint(one)
    for name, expected in theirs["state_dict"].items():
        found = ours["state_dict"][name]
        if "covariance.count" in name:
            assert torch.equal(found, expected)
            assert found.sum() > 0
        elif "mean_rounding" not in name:  # what float32 cannot hold of the mean
            assert_close(found, expected, rtol=1e-5, atol=1e-6, msg=lambda text, name=name: f"{name}: {text}")
    # SGD's momentum is the sum of the gradients so far, each weighing 0.9 of the next
    momenta = [
        torch.cat([state["momentum_buffer"].flatten() for state in found["optimizer_states"][0]["state"].values()])
        for found in (ours, theirs)
    ]
    assert momenta[0].abs().max() > 0.01
    assert relative(*momenta) < 1e-5


def test_adamw_with_parts_of_a_step_is_that_of_one_process(two, monkeypatch, tmp_path, teacher_run, few_scenes) -> None:
    ours, theirs = checkpoint(two[0] / "adamw"), checkpoint(by_one("adamw", monkeypatch, tmp_path, teacher_run))
    for moment in ("exp_avg", "exp_avg_sq"):
        found = [
            torch.cat([state[moment].flatten() for state in one["optimizer_states"][0]["state"].values()])
            for one in (ours, theirs)
        ]
        assert found[0].abs().max() > 0
        assert relative(*found) < 1e-4
    for part in ("student.", "ema.module."):
        names = [name for name, value in theirs["state_dict"].items() if name.startswith(part) and value.ndim > 1]
        for name in names:
            assert relative(ours["state_dict"][name], theirs["state_dict"][name]) < 1e-4, name


def test_logs_are_those_of_one_process(two, one) -> None:
    ours, theirs = read_metrics(two[0] / "fakd"), read_metrics(one)
    assert ours.keys() == theirs.keys()
    for name, rows in theirs.items():
        if name.startswith(("loss/", "val/")):
            assert [step for step, _ in ours[name]] == [step for step, _ in rows]
            assert [value for _, value in ours[name]] == pytest.approx([value for _, value in rows], rel=1e-5, abs=1e-6)


@pytest.mark.parametrize("name", ranks.RUNS)
def test_every_rank_ends_with_the_same_state(two, name) -> None:
    first, second = (torch.load(two[0] / f"{name}-{rank}.pt", weights_only=True) for rank in range(2))
    for part in ("module", "optimizer"):
        assert_close(first[part], second[part], rtol=0, atol=0)
    timed = ("seconds", "seconds_per_step", "data_wait", "peak_memory", "wall_seconds", "evaluation_share")
    assert {key: first["found"][key] for key in first["found"] if key not in timed} == {
        key: second["found"][key] for key in second["found"] if key not in timed
    }
    grown = {"fakd": "method.augmentation.covariance.count", "cirkd": "method.pixels.filled"}.get(name)
    assert grown is None or first["module"][grown].sum() > 0


@pytest.mark.parametrize("name", ranks.RUNS)
def test_every_image_is_counted_once(two, name, monkeypatch) -> None:
    monkeypatch.setitem(DATASETS, "toy-scenes", ranks.scenes(name))
    data = SegmentationData(DATASETS["toy-scenes"])
    assert len(data.source("val")) == ranks.VAL[name]
    matrix = evaluate_model(load_model(two[0] / name)[0], data.val_dataloader(), 12)
    expected = scores_from_confusion(matrix, data.spec.classes).to_dict()
    found = torch.load(two[0] / f"{name}-0.pt", weights_only=True)["found"]
    assert {key: found[key] for key in expected} == expected
    assert read_metrics(two[0] / name)["val/mIoU"][-1][1] == pytest.approx(expected["mIoU"], rel=1e-5)


def test_files_and_words_come_from_one_process(two, one) -> None:
    folder, said = two

    def files(root: Path) -> list[str]:
        return sorted(
            re.sub(r"tfevents\..*", "tfevents", str(path.relative_to(root)))
            for path in root.rglob("*")
            if path.is_file()
        )

    assert files(folder / "fakd") == files(one)
    assert said.count("step      4 crops (2 in each of 2 processes), learning rate 0.05 at first") == 3
    assert said.count("step      6 crops (3 in each of 2 processes), 2 of them of images without labels") == 1
    assert said.count("the recipe has batch_size 16 and learning_rate 0.01") == 4
    assert said.count("teacher   mIoU") == 5


@pytest.mark.parametrize("name", METHODS)
def test_a_rank_without_labels_has_every_gradient(distill_config, name) -> None:
    """The others wait for each parameter's."""
    student, teacher = (create_model(ranks.NETWORK, num_classes=12, channels=8) for _ in range(2))
    method = create_method(name, student, teacher, max_steps=4)
    learner = Learner(student, method, teacher, distill_config(method=name))
    images = torch.randint(256, (2, 3, 32, 32), dtype=torch.uint8)
    terms = learner.train()(Sample(images, torch.full((2, 32, 32), 255, dtype=torch.uint8), ""), 0)
    torch.stack(list(terms.values())).sum().backward()
    learnt = {name: parameter for name, parameter in learner.named_parameters() if parameter.requires_grad}
    assert len(learnt) > 30
    assert [name for name, parameter in learnt.items() if parameter.grad is None] == []


# how runs end


def command(teacher: Path, output: Path, *more: str) -> list[str]:
    words = [str(HERE.parent / "small_fakd.py"), "distill", "--teacher", str(teacher), "--allow_bad_teacher"]
    words += ["--student", ranks.NETWORK]
    words += ["--head_channels", "8", "--batch_size", "4", "--crop_size", "32,32", "--workers", "1"]
    words += ["--max_steps", "100000", "--eval_every", "100000", "--checkpoint_every", "5", "--log_every", "5"]
    return [*words, "--accelerator", "cpu", "--output", str(output), *more]


class Started:
    """A command in a session of its own, and what it prints."""

    def __init__(self, words: list[str], folder: Path) -> None:
        self.log = folder / f"{time.monotonic_ns()}.log"
        with self.log.open("wb") as file:
            self.process = subprocess.Popen(
                words, env=environment(), stdout=file, stderr=subprocess.STDOUT, start_new_session=True
            )

    def said(self) -> str:
        return self.log.read_text(errors="replace")

    def wait_for_newer(self, file: Path, than: float = 0.0) -> None:
        deadline = time.monotonic() + 240
        while not (file.exists() and file.stat().st_mtime > than):
            assert self.process.poll() is None, self.said()
            assert time.monotonic() < deadline, self.said()
            time.sleep(0.05)

    def ranks(self) -> dict[int, int]:
        """The process ids of the run's processes, by local rank; loader processes are left out."""
        family = descendants(self.process.pid)
        found: dict[int, int] = {}
        for pid in sorted(family):
            variables = dict(entry.split("=", 1) for entry in read(f"/proc/{pid}/environ").split("\0") if "=" in entry)
            if "LOCAL_RANK" in variables:
                found.setdefault(int(variables["LOCAL_RANK"]), pid)
        return found


def read(path: str) -> str:
    try:
        return Path(path).read_text(errors="replace")
    except OSError:
        return ""


def descendants(pid: int) -> set[int]:
    found, waiting = {pid}, [pid]
    while waiting:
        parent = waiting.pop()
        for children in Path(f"/proc/{parent}/task").glob("*/children"):
            new = {int(child) for child in read(str(children)).split()}
            waiting += new - found
            found |= new
    return found


def wait_until_gone(pids: set[int], seconds: float) -> float:
    """How long it took until none of the processes was left."""
    start = time.monotonic()
    while alive := [pid for pid in pids if Path(f"/proc/{pid}").exists() and ") Z " not in read(f"/proc/{pid}/stat")]:
        assert time.monotonic() < start + seconds, f"{alive} are left after {seconds} s"
        time.sleep(0.05)
    return time.monotonic() - start


def test_a_killed_rank_ends_all_and_ctrl_c_does(teacher_run, tmp_path, record_property) -> None:
    """torchrun: rank 1 killed. Resumed by --devices 2: interrupted, then rank 0 killed."""
    output = tmp_path / "run"
    last = output / "checkpoints/last.ckpt"

    run = Started([*TORCHRUN, *command(teacher_run, output)], tmp_path)
    run.wait_for_newer(last)
    family = descendants(run.process.pid)
    os.kill(run.ranks()[1], signal.SIGKILL)
    record_property("seconds_torchrun", wait_until_gone(family - {run.process.pid}, 60))
    assert run.process.wait(60) != 0
    assert re.search(r"error: another process of this run is gone: .*--resume|SIGKILL", run.said()), run.said()

    alone = [sys.executable, *command(teacher_run, output, "--devices", "2", "--resume")]
    run = Started(alone, tmp_path)
    run.wait_for_newer(last, last.stat().st_mtime)
    family = descendants(run.process.pid)
    os.killpg(run.process.pid, signal.SIGINT)  # as a terminal does
    wait_until_gone(family - {run.process.pid}, 60)
    assert run.process.wait(60) == 130, run.said()
    stopped = re.findall(r"stopped at step (\d+) of 100000; go on with the same command and --resume", run.said())
    assert stopped == [str(checkpoint(output)["global_step"])], run.said()
    assert "Traceback" not in run.said()

    run = Started(alone, tmp_path)
    run.wait_for_newer(last, last.stat().st_mtime)
    family = descendants(run.process.pid)
    os.kill(run.process.pid, signal.SIGKILL)
    wait_until_gone(family - {run.process.pid}, 60)
    assert run.process.wait(60) == -signal.SIGKILL
    assert re.search(r"error: another process of this run is gone: .*--resume", run.said()), run.said()
