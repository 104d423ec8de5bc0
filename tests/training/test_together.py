"""How processes that belong together end: real ones, forked, with nothing to train."""

import os
import re
import signal
import sys
import time
from multiprocessing import get_context
from types import SimpleNamespace

import pytest

from fakd.training import together as module
from fakd.training.stopping import Interrupted
from fakd.training.together import Vote, together

RANKS = 3
pytestmark = pytest.mark.skipif(sys.platform in ("win32", "darwin"), reason="forks")


def kill_oneself() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def fail() -> None:
    raise ValueError("b.png: broken \x1b[31m")


def lose_the_connection() -> None:
    time.sleep(0.2)
    raise RuntimeError("Connection closed by peer")


def stop() -> None:
    raise Interrupted("stopped at step 3 of 9")


def wait() -> None:
    time.sleep(60)


def end_late() -> None:
    time.sleep(0.5)


def nothing() -> None:
    pass


def work(rank, deed, queue) -> None:
    os.environ |= {"MASTER_ADDR": "127.0.0.1", "RANK": str(rank)}

    def broadcast(value):
        if rank:
            return queue.get()
        for _ in range(RANKS - 1):
            queue.put(value)
        return value

    launcher = SimpleNamespace(launch=lambda function, trainer: None)
    strategy = SimpleNamespace(launcher=launcher, setup_environment=None, broadcast=broadcast)
    with together(SimpleNamespace(global_rank=rank, world_size=RANKS, strategy=strategy)):
        deed()


@pytest.mark.parametrize(
    ("deeds", "statuses", "said"),
    [
        ((wait, kill_oneself, wait), (1, -9, 1), r"error: rank 1 of 3 \(.*, process \d+\) ended without a word"),
        ((kill_oneself, wait, wait), (-9, 1, 1), r"error: rank 0 of 3 \(.*, process \d+\) ended without a word"),
        ((wait, wait, fail), (1, 1, 1), r"error: rank 2 of 3 \(.*\): b.png: broken \\x1b\[31m. The other processes"),
        ((fail, wait, wait), (1, 1, 1), r"ValueError: b.png: broken"),
        ((lose_the_connection, kill_oneself, lose_the_connection), (1, -9, 1), r"error: rank 1 of 3"),
        ((stop, stop, stop), (0, 0, 0), None),
        ((wait, stop, wait), (130, 0, 130), None),
        ((nothing, end_late, nothing), (0, 0, 0), None),
        ((end_late, nothing, nothing), (0, 0, 0), None),
    ],
    ids=[
        "one dies",
        "the first dies",
        "one fails",
        "the first fails",
        "echo",
        "all stop",
        "one stops",
        "done",
        "done 2",
    ],
)
def test_all_end_together(deeds, statuses, said, monkeypatch, capfd) -> None:
    monkeypatch.setattr(module, "_PATIENCE", 1.0)
    context = get_context("fork")
    queue = context.SimpleQueue()
    processes = [context.Process(target=work, args=(rank, deed, queue)) for rank, deed in enumerate(deeds)]
    for process in processes:
        process.start()
    for process in processes:
        process.join(20)
    found = tuple(process.exitcode for process in processes)
    output, errors = capfd.readouterr()
    assert found == statuses, errors
    if said is None:
        assert errors == ""
    else:
        assert re.search(said, errors), errors
    assert ("Traceback" in errors) == (fail in deeds)
    assert output.count("stopped at step 3 of 9") == (deeds[0] is stop)
    assert output.count("stopped; go on") == (deeds == (wait, stop, wait))


def test_one_process_alone(capsys) -> None:
    trainer = SimpleNamespace(strategy=SimpleNamespace(launcher=None))
    with pytest.raises(ValueError, match="broken"), together(trainer):
        fail()
    with together(trainer):
        stop()
    assert capsys.readouterr().out == "stopped at step 3 of 9\n"
    assert [Vote().any(wish) for wish in (True, False)] == [True, False]
