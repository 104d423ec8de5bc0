"""Doing something in the middle of a run: when so many steps are done, in the next step or in the evaluation there."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from fakd.training import DistillConfig, distill, loop
from fakd.training.learner import Learner

TRAINING, EVALUATION, SCORES = "training step", "evaluation", "scores"
"""In the step that follows; before the student is evaluated; once it is, before anything is said of it."""


class Crash(Exception):
    """What a run fails with that is to fail."""


def at_step(
    monkeypatch: pytest.MonkeyPatch, where: str, step: int, action: Callable[[], Any], once: bool = True
) -> None:
    """Do something, once or in every run, before what `where` says, when that many steps are done."""
    done, pending = [0], [step]

    def due(place: str) -> None:
        if where == place and done[0] == step and pending:
            if once:
                pending.clear()
            action()

    def noting(place: str, original: Callable[..., Any]) -> Callable[..., Any]:
        def call(*args: Any, **options: Any) -> Any:
            due(place)
            return original(*args, **options)

        return call

    forward = Learner.forward

    def stepping(self: Learner, batch: Any, number: int) -> Any:
        done[0] = number
        due(TRAINING)
        done[0] = number + 1
        return forward(self, batch, number)

    monkeypatch.setattr(Learner, "forward", stepping)
    monkeypatch.setattr(loop, "evaluate_model", noting(EVALUATION, loop.evaluate_model))
    monkeypatch.setattr(loop, "scores_from_confusion", noting(SCORES, loop.scores_from_confusion))


def crash_at(monkeypatch: pytest.MonkeyPatch, step: int, where: str = TRAINING, once: bool = True) -> None:
    """Let the run fail, once or always, when that many steps are done."""

    def crash() -> None:
        raise Crash

    at_step(monkeypatch, where, step, crash, once)


def whole_and_resumed(
    monkeypatch: pytest.MonkeyPatch, make: Callable[..., DistillConfig], folder: Path, step: int, **settings: Any
) -> tuple[Path, Path]:
    """Distil twice with the same options, once undisturbed, once failing after a step and resumed; the two folders."""
    whole, broken = folder / "whole", folder / "broken"
    distill(make(output=whole, **settings))
    crash_at(monkeypatch, step)
    with pytest.raises(Crash):
        distill(make(output=broken, **settings))
    distill(make(output=broken, resume=True, **settings))
    return whole, broken


def takes(monkeypatch: pytest.MonkeyPatch, clock: list[float], where: str, seconds: float) -> None:
    """Let every step, or every evaluation, take so long by a clock that only moves where tests say so."""
    owner, name = (Learner, "forward") if where == TRAINING else (loop, "evaluate_model")
    original = getattr(owner, name)

    def slow(*args: Any, **options: Any) -> Any:
        clock[0] += seconds
        return original(*args, **options)

    monkeypatch.setattr("fakd.training.cost.time.monotonic", lambda: clock[0])
    monkeypatch.setattr(owner, name, slow)
