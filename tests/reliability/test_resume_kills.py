"""Runs that are stopped at random moments; see kill.py."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

KILL = Path(__file__).parent / "kill.py"

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="starts processes by fork")


def kill(rounds: int, seed: int) -> str:
    """In a process of its own: PyTorch's threads do not survive a fork."""
    result = subprocess.run(
        [sys.executable, str(KILL), str(rounds), "--seed", str(seed)],
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
    )
    assert result.returncode == 0, result.stdout + result.stderr
    print(result.stdout)
    return result.stdout


@pytest.mark.slow
def test_four_methods_stopped_at_random_moments() -> None:
    """All of kill.py's options with them; what each method knows is resumed in test_resumed_runs.py."""
    said = kill(8, seed=1)
    assert "lost         0" in said
    assert signal.SIGKILL.name in said
    assert "went on from the checkpoint before the last 0 times" not in said
