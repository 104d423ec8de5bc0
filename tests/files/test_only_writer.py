"""Two who would write the same: on one machine, on two, and when one of them is gone."""

import os
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from fakd.files import only_writer as module
from fakd.files.only_writer import BusyError, is_owned, new_lease, only_writer, try_to_own

OWN = """
import sys, time
from pathlib import Path
from fakd.files.only_writer import only_writer
with only_writer(Path(sys.argv[1]), "it"):
    print("mine", flush=True)
    time.sleep(60)
"""


@pytest.fixture(autouse=True)
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "BEAT", 0.2)
    monkeypatch.setattr(module, "_LOOK", 0.05)


@pytest.fixture
def lock(tmp_path: Path) -> Path:
    return tmp_path / "run.lock"


def written_elsewhere(lock: Path, expires: float) -> None:
    """What a process of another machine has left."""
    lock.write_text(f"filelock/2\npid={os.getpid()}\nhost=elsewhere\nmode=lease\ntoken=a\nduration={expires!r}\n")


def test_a_living_process_keeps_others_out_and_a_killed_one_does_not(lock: Path) -> None:
    with subprocess.Popen([sys.executable, "-c", OWN, str(lock)], stdout=subprocess.PIPE, text=True) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == "mine\n"
        assert is_owned(new_lease(lock))
        said = f"at work on it .process {other.pid} on {socket.gethostname()}"
        with pytest.raises(BusyError, match=said) as error, only_writer(lock, "it"):
            pytest.fail("two writers")
        assert error.value.exit_status == 75
        other.kill()
        other.wait()
    began = time.monotonic()
    with only_writer(lock, "it"):
        assert time.monotonic() - began < 1  # far less than `EXPIRES`
    assert not lock.exists()
    assert not is_owned(new_lease(lock))


def test_what_another_machine_left_is_taken_over_when_it_shows_no_sign_of_life(lock, monkeypatch, capsys) -> None:
    monkeypatch.setattr(module, "EXPIRES", 1.0)
    written_elsewhere(lock, 1.0)
    assert is_owned(new_lease(lock))  # for all that one look can tell
    began = time.monotonic()
    with only_writer(lock, "it"):
        assert 0.9 < time.monotonic() - began < 3
        assert "host=elsewhere" not in lock.read_text()
    assert "it is held by process" in capsys.readouterr().out


def test_another_machine_at_work_is_known_by_its_signs_of_life(lock, monkeypatch) -> None:
    monkeypatch.setattr(module, "EXPIRES", 5.0)
    written_elsewhere(lock, 5.0)
    touching = subprocess.Popen(["sh", "-c", f"while sleep 0.1; do touch {lock}; done"])
    try:
        with pytest.raises(BusyError, match="on elsewhere"), only_writer(lock, "it"):
            pytest.fail("two writers")
    finally:
        touching.kill()
        touching.wait()


def test_whoever_is_let_in_last_ends_the_one_that_slept(lock: Path) -> None:
    """The first must not write another byte."""
    short = OWN.replace(
        "from fakd.files.only", "import fakd.files.only_writer as o; o.BEAT = 0.1\nfrom fakd.files.only"
    )
    with subprocess.Popen(
        [sys.executable, "-c", short, str(lock)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == "mine\n"
        lock.unlink()
        lease = new_lease(lock)
        assert try_to_own(lease)
        _, said = other.communicate(timeout=20)
        lease.release()
    assert other.returncode == 75
    assert "is not this process's any more" in said
