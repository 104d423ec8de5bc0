"""A run that is asked to stop writes a checkpoint; one that is told to stop at once does not."""

import os
import signal
import time
from pathlib import Path

import pytest
import torch
from kill import differences
from steps import EVALUATION, TRAINING, at_step

from fakd.training import distill, stopping
from fakd.training.stopping import Interrupted, StopRequest

FAKD = {"method": "fakd", "dropout": 0.5, "max_steps": 6, "checkpoint_every": 4, "eval_every": 4}
STOPS = [signal.SIGINT, signal.SIGTERM, signal.SIGUSR1]

pytestmark = pytest.mark.skipif(os.name != "posix", reason="sends signals")


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the run that is left alone lies, once a test has made it."""
    return tmp_path_factory.mktemp("whole") / "run"


def send(number: int) -> None:
    os.kill(os.getpid(), number)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGUSR1])
@pytest.mark.parametrize(("where", "step", "stopped_at"), [(TRAINING, 2, 3), (EVALUATION, 4, 4)])
def test_a_scheduler_gets_a_checkpoint(
    distill_config, whole, monkeypatch, tmp_path, capsys, number, where, step, stopped_at
) -> None:
    before = [signal.getsignal(each) for each in STOPS]
    with monkeypatch.context() as patch:
        at_step(patch, where, step, lambda: send(number))
        assert distill(distill_config(**FAKD)) is None
    said = capsys.readouterr().out
    assert f"stopping after this step; {number.name}" in said
    assert f"stopped at step {stopped_at} of 6; go on with the same command and --resume" in said
    assert [signal.getsignal(each) for each in STOPS] == before
    assert torch.load(tmp_path / "run/checkpoints/last.ckpt", weights_only=True)["global_step"] == stopped_at
    distill(distill_config(**FAKD, resume=True))
    if not whole.exists():
        distill(distill_config(**FAKD, output=whole))
    assert differences(whole, tmp_path / "run") == []


def test_a_scheduler_that_sends_twice_is_in_no_greater_hurry(distill_config, monkeypatch, tmp_path) -> None:
    monkeypatch.setattr(stopping, "_TWICE", 0.0)

    def both() -> None:
        send(signal.SIGUSR1)
        send(signal.SIGTERM)
        send(signal.SIGTERM)

    at_step(monkeypatch, TRAINING, 1, both)
    assert distill(distill_config(**FAKD)) is None
    assert torch.load(tmp_path / "run/checkpoints/last.ckpt", weights_only=True)["global_step"] == 2


@pytest.mark.parametrize(("pause", "at_once"), [(0.0, False), (0.05, True)])
def test_ctrl_c_again(distill_config, monkeypatch, tmp_path, capsys, pause, at_once) -> None:
    """A second later it stops at once; sooner it is torchrun's echo of the first."""
    monkeypatch.setattr(stopping, "_TWICE", 0.04 if at_once else 5.0)

    def twice() -> None:
        send(signal.SIGINT)
        time.sleep(pause)
        send(signal.SIGINT)

    at_step(monkeypatch, TRAINING, 1, twice)
    assert distill(distill_config(**FAKD)) is None
    assert ("stopped at once; go on" in capsys.readouterr().out) == at_once
    assert (tmp_path / "run/checkpoints/last.ckpt").exists() != at_once


def test_what_is_ignored_stays_ignored() -> None:
    """As `trap '' USR1` in a shell asks for."""
    previous = signal.signal(signal.SIGUSR1, signal.SIG_IGN)
    try:
        request = StopRequest()
        with request.heard():
            send(signal.SIGUSR1)
        assert not request.asked
    finally:
        signal.signal(signal.SIGUSR1, previous)


def end(asked: bool, error: Exception) -> None:
    with StopRequest().heard():
        if asked:
            send(signal.SIGTERM)
        raise error


def test_loaders_that_were_ended_too() -> None:
    """One that dies by itself is an error as before."""
    died = RuntimeError("DataLoader worker (pid 1) is killed by signal: Terminated.")
    with pytest.raises(RuntimeError, match="killed by signal"):
        end(False, died)
    with pytest.raises(RuntimeError, match="other"):
        end(True, RuntimeError("other"))
    with pytest.raises(Interrupted, match="stopped while waiting for images"):
        end(True, died)
    with pytest.raises(ConnectionResetError):
        end(False, ConnectionResetError())
    with pytest.raises(Interrupted, match="stopped while waiting for images"):
        end(True, ConnectionResetError())


def test_a_loader_that_ends_on_the_way_is_no_noise(capfd) -> None:
    """Its SIGCHLD comes while the request is heard."""
    with StopRequest().heard():
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGCHLD})
        send(signal.SIGTERM)
        send(signal.SIGCHLD)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGCHLD})
    assert "Traceback" not in capfd.readouterr().err
