"""700 steps in which nothing grows; see long_run.py."""

import json
import os
import subprocess
import sys
from pathlib import Path
from statistics import median

import pytest

MOST_STEPS = 700


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_nothing_grows() -> None:
    script = Path(__file__).parent / "long_run.py"
    result = subprocess.run(
        [sys.executable, str(script), str(MOST_STEPS)],
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
    )
    assert result.returncode == 0, result.stderr
    *lines, last = result.stdout.splitlines()
    print("\n".join(lines))
    seen = json.loads(last)
    assert seen["steps"][-1] == MOST_STEPS
    later = len(seen["steps"]) // 3
    # Between the last two thirds, that is in 230 steps, less than 2 MB, a thousandth: what the allocator of C may do.
    # A batch that is kept is 24 kB, 5.6 MB in all.
    middle, end = median(seen["bytes"][later : 2 * later]), median(seen["bytes"][2 * later :])
    assert end - middle < 2e6
    # One more where a look falls between a write and its end.
    assert max(seen["files"][later:]) - min(seen["files"][later:]) <= 2
    assert set(seen["names"]) <= {"last.ckpt", "previous.ckpt", "best.ckpt"}
    assert seen["left"] == ["best.ckpt", "last.ckpt"]
