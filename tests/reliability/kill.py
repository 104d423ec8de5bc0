"""Stop runs at random moments, resume them until they are finished, and compare with runs that were left alone.

python tests/reliability/kill.py 22
"""

import argparse
import json
import multiprocessing
import os
import random
import shutil
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from multiprocessing.context import ForkProcess
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))

import torch
from safetensors.torch import load_file
from tiny import NETWORK, SMALL

from fakd.analysis.runs import read_metrics
from fakd.cli import main as fakd
from fakd.data import DATASETS

# Every method once, the first four with every option: with and without loader processes, caches and colour draws.
CASES = {
    "fakd": "--workers 2",
    "cirkd": "--workers 0",
    "cwd": "--workers 2 --teacher_cache {cache} --cache_images",
    "fakd-pixel": "--workers 0 --teacher_cache {cache} --teacher_views 3 --photometric",
    "skds": "--workers 2",
    "ifvd": "--workers 0 --photometric",
    "fitnet": "--workers 2 --cache_images",
    "at": "--workers 0",
    "cwd-features": "--workers 2 --photometric",
    "pixel": "--workers 0 --cache_images",
    "none": "--workers 2",
}
SIZE = "--head_channels 8 --batch_size 2 --crop_size 32,32 --accelerator cpu"
# 4 steps see all images, so most checkpoints are in the middle of an epoch
LENGTH = "--max_steps 24 --checkpoint_every 3 --eval_every 8 --log_every 2 --dropout 0.5"
SIGNALS = (signal.SIGKILL, signal.SIGKILL, signal.SIGTERM, signal.SIGINT, signal.SIGUSR1)
PATIENCE = 300.0
"""Seconds after which a process counts as hung."""


@dataclass
class Outcome:
    """What was done, and what came of it."""

    stops: Counter[str] = field(default_factory=Counter)
    """By signal."""
    states: Counter[str] = field(default_factory=Counter)
    """By how the process ended."""
    damaged: Counter[str] = field(default_factory=Counter)
    """Newest checkpoints that were damaged on top of that, by fault."""
    fallbacks: int = 0
    """Starts from the checkpoint before the last."""
    lost: list[str] = field(default_factory=list)
    """What is not as in the run that was left alone."""


class Command:
    """`fakd` in a process that has every library already, and a group of its own, as a terminal or Slurm gives it."""

    def __init__(self, arguments: Sequence[str], log: Path) -> None:
        self.log = log
        log.write_bytes(b"")
        self.process: ForkProcess = multiprocessing.get_context("fork").Process(target=self._run, args=(arguments,))
        self.process.start()
        self.wait(lambda: bool(log.stat().st_size))  # inside the command, with its signals in order

    def stop(self, number: int) -> None:
        assert self.process.pid is not None
        os.killpg(self.process.pid, number)

    def join(self, seconds: float = PATIENCE) -> int | None:
        self.process.join(seconds)
        return self.process.exitcode

    def said(self) -> str:
        return self.log.read_text()

    def wait(self, condition: Any) -> None:
        deadline = time.monotonic() + PATIENCE
        while not condition() and self.process.is_alive() and time.monotonic() < deadline:
            time.sleep(0.001)

    def _run(self, arguments: Sequence[str]) -> None:
        os.setsid()
        with self.log.open("wb") as file:
            os.dup2(file.fileno(), 1)
            os.dup2(file.fileno(), 2)
        DATASETS["toy-scenes"] = SMALL  # type: ignore[index]
        status = fakd(arguments)
        sys.stdout.flush()
        os._exit(status)  # as a command's process; this one has the caller's to clean up after


def stop_and_resume(rounds: int, folder: Path, seed: int = 0) -> Outcome:
    """Stop runs so many times in all.

    Args:
        rounds: how often; half as many methods are tried.
        folder: to work in.
        seed: of moments, signals and faults.
    """
    rng, outcome = random.Random(seed), Outcome()
    teacher = Command(
        [
            "train",
            "--dataset",
            "toy-scenes",
            "--network",
            NETWORK,
            "--output",
            str(folder / "teacher"),
            *SIZE.split(),
            "--max_steps",
            "20",
        ],
        folder / "teacher.log",
    )
    if teacher.join() != 0:
        raise RuntimeError(teacher.said())
    cases = list(CASES)[: (rounds + 1) // 2]
    for place, method in enumerate(cases):
        options = CASES[method].format(cache=folder / "cache")
        arguments = ["distill", "--teacher", str(folder / "teacher"), "--student", NETWORK, "--method", method]
        arguments += ["--allow_bad_teacher", *SIZE.split(), *LENGTH.split(), *options.split()]
        times = len(range(place, rounds, len(cases)))
        _case(method, arguments, folder, times, rng, outcome)
    return outcome


def _case(method: str, arguments: list[str], folder: Path, times: int, rng: random.Random, outcome: Outcome) -> None:
    whole, run, log = folder / method, folder / f"{method}-stopped", folder / f"{method}.log"
    alone = Command([*arguments, "--output", str(whole)], log)
    started = time.monotonic()
    if alone.join() != 0:
        outcome.lost.append(f"{method}: {alone.said()}")
        return
    latest = time.monotonic() - started
    again = [*arguments, "--output", str(run), "--resume"]
    while times:
        command = Command(again, log)
        number = SIGNALS[outcome.stops.total() % len(SIGNALS)]
        if times == 1:  # the last time with a checkpoint to go back to
            command.wait((run / "checkpoints/previous.ckpt").exists)
        command.process.join(rng.uniform(0, latest / 2 if times == 1 else latest))
        if command.process.is_alive():
            command.stop(number)
            times -= 1
            outcome.stops[number.name] += 1
            outcome.states[_state(command, method, outcome)] += 1
            _note_fallback(command, run, outcome)
            _damage(run, rng, outcome, surely=not times)
        else:  # it was done before
            latest *= 0.8
            shutil.rmtree(run)
    command = Command(again, log)
    if command.join() != 0:
        outcome.lost.append(f"{method}: {command.said()}")
        return
    _note_fallback(command, run, outcome)
    outcome.lost += [f"{method}: {what}" for what in differences(whole, run)]


def _state(command: Command, method: str, outcome: Outcome) -> str:
    """How the process ended that was stopped; anything unexpected counts as lost."""
    status, said = command.join(), command.said()
    if status is None or status in (1, 2) or "Traceback" in said:
        outcome.lost.append(f"{method}: ended with {status}, saying {said}")
        command.process.kill()
        return "error"
    if "stopped at step" in said:
        return "checkpoint written"
    if "stopped while waiting" in said:
        return "stopped waiting for images"
    return {0: "finished all the same", 130: "ended outside training"}.get(status, "ended at once")


def _note_fallback(command: Command, run: Path, outcome: Outcome) -> None:
    if f"resuming  from {run / 'checkpoints/previous.ckpt'}" in command.said():
        outcome.fallbacks += 1


def _damage(run: Path, rng: random.Random, outcome: Outcome, surely: bool) -> None:
    """Sometimes or surely, spoil the newest checkpoint, if there is one before it."""
    last = run / "checkpoints/last.ckpt"
    if (not surely and rng.random() < 0.5) or not (last.exists() and (run / "checkpoints/previous.ckpt").exists()):
        return
    if not (content := bytearray(last.read_bytes())):
        return  # emptied before, and the start since then was stopped before it wrote one
    fault = rng.choice(("cut short", "a bit flipped", "empty"))
    if fault == "a bit flipped":
        content[len(content) // 2] ^= 1 << rng.randrange(8)
    last.write_bytes({"cut short": content[: rng.randrange(1, len(content))], "empty": b""}.get(fault, content))
    outcome.damaged[fault] += 1


def differences(one: Path, other: Path) -> list[str]:
    """What is not the same, bit by bit, in two finished runs."""
    found = []
    ours, theirs = load_file(one / "student.safetensors"), load_file(other / "student.safetensors")
    if not equal(ours, theirs):
        found.append("student.safetensors")
    for name in ("last.ckpt", "best.ckpt"):
        ours, theirs = (torch.load(run / "checkpoints" / name, weights_only=True) for run in (one, other))
        found += [f"{name}: {key}" for key in ours if key != "clock" and not equal(ours[key], theirs.get(key))]
    mine, yours = read_metrics(one), read_metrics(other)
    found += [f"metric {name}" for name in mine.keys() | yours.keys() if mine.get(name) != yours.get(name)]
    results = [json.loads((run / "results.json").read_text()) for run in (one, other)]
    for result in results:
        for name in ("seconds", "seconds_per_step", "data_wait", "peak_memory", "wall_seconds", "evaluation_share"):
            del result[name]
    if json.dumps(results[0]) != json.dumps(results[1]):
        found.append("results.json")
    return found


def equal(one: Any, other: Any) -> bool:
    """Whether two nests of dicts, lists, tensors and plain values are the same bit by bit."""
    if isinstance(one, torch.Tensor):
        return isinstance(other, torch.Tensor) and torch.equal(one, other)
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(equal(one[key], other[key]) for key in one)
    if isinstance(one, list | tuple):
        return len(one) == len(other) and all(map(equal, one, other))
    return bool(one == other)


def main() -> int:
    """Print what was done and what was lost."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("rounds", type=int)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        outcome = stop_and_resume(arguments.rounds, Path(folder), arguments.seed)
    for title, counts in (("stopped by", outcome.stops), ("which", outcome.states), ("damaged", outcome.damaged)):
        print(f"{title:<12} " + ", ".join(f"{name} {count}" for name, count in counts.most_common()))
    print(f"{'went on from the checkpoint before the last':<12} {outcome.fallbacks} times")
    print(f"{'lost':<12} {len(outcome.lost)}")
    for what in outcome.lost:
        print("  " + what)
    return bool(outcome.lost)


if __name__ == "__main__":
    sys.exit(main())
