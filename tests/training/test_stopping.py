"""How a run is asked to stop, and that all its processes do so at the same step."""

import signal
import sys
from multiprocessing import get_context
from pathlib import Path

import pytest
import torch.distributed as dist

from fakd.training.stopping import Interrupted, StopRequest, Vote


def test_one_process_alone() -> None:
    assert [Vote().any(wish) for wish in (True, False)] == [True, False]


def vote(rank: int, meeting: Path, heard: "list[list[bool]]") -> None:
    dist.init_process_group("gloo", init_method=f"file://{meeting}", rank=rank, world_size=2)
    votes = Vote()
    heard.put([votes.any(rank == 1 and step == 2) for step in range(4)])  # type: ignore[attr-defined]
    dist.destroy_process_group()


@pytest.mark.skipif(sys.platform == "win32", reason="forks")
def test_what_one_process_hears_all_know_at_the_same_step(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GLOO_SOCKET_IFNAME", "lo")
    context = get_context("spawn")
    heard = context.SimpleQueue()
    processes = [context.Process(target=vote, args=(rank, tmp_path / "meeting", heard)) for rank in range(2)]
    for process in processes:
        process.start()
    for process in processes:
        process.join(60)
    assert [heard.get() for _ in processes] == [[False, False, True, False]] * 2


def test_an_evaluation_is_left_between_two_images(capsys: pytest.CaptureFixture[str]) -> None:
    request, seen = StopRequest(), []

    def evaluate() -> None:
        for image in range(3):
            request.obey()
            seen.append(image)
            signal.raise_signal(signal.SIGINT)

    with pytest.raises(Interrupted, match="stopped; go on with the same command and --resume"), request.heard():
        evaluate()
    assert seen == [0]
