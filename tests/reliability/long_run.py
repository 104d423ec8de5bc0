"""Train on a tiny problem for long, and watch the memory and the open files of the process and of its loaders.

python tests/reliability/long_run.py 1200
"""

import argparse
import json
import os
import sys
import tempfile
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))

import numpy as np
from tiny import NETWORK, SETTINGS, SMALL

from fakd.console import quiet_libraries
from fakd.data import DATASETS
from fakd.training import DistillConfig, TrainConfig, distill, train
from fakd.training.stopping import Vote

PAGE = os.sysconf("SC_PAGE_SIZE")


class Watch:
    """Looks every so often, when a step is done and its checkpoint is about to be written."""

    def __init__(self, checkpoints: Path, every: int) -> None:
        self.checkpoints, self.every = checkpoints, every
        self.done = 0
        self.steps: list[int] = []
        self.bytes: list[int] = []
        self.files: list[int] = []
        self.names: set[str] = set()

    def look(self, done: int) -> None:
        if done % self.every or (self.steps and done <= self.steps[-1]):
            return
        processes = ["self", *Path("/proc/self/task", str(os.getpid()), "children").read_text().split()]
        self.steps.append(done)
        self.bytes.append(sum(int(Path("/proc", each, "statm").read_text().split()[1]) * PAGE for each in processes))
        self.files.append(sum(len(os.listdir(f"/proc/{each}/fd")) for each in processes))
        self.names |= {path.name for path in self.checkpoints.glob("*")}


def long_run(steps: int, folder: Path) -> dict[str, Any]:
    """Distil for so many steps.

    Returns:
        bytes and files by step, slope of the bytes from the first third on and its standard error, and the names of
        all checkpoints that were seen.
    """
    DATASETS["toy-scenes"] = SMALL  # type: ignore[index]
    quiet_libraries()
    train(TrainConfig(**SETTINGS, network=NETWORK, output=folder / "teacher"))
    settings = {**SETTINGS, "max_steps": steps, "workers": 1, "log_every": 10, "checkpoint_every": 50}
    config = DistillConfig(
        **{**settings, "eval_every": max(1, steps // 10)},
        teacher=str(folder / "teacher"),
        student=NETWORK,
        allow_bad_teacher=True,
        output=folder / "run",
    )
    watch = Watch(folder / "run/checkpoints", every=max(1, steps // 50))
    ask = Vote.any

    def watched(self: Vote, wish: bool) -> bool:  # at the end of every step
        watch.done += 1
        watch.look(watch.done)
        return ask(self, wish)

    Vote.any = watched  # type: ignore[method-assign]
    distill(config)
    first = len(watch.steps) // 3  # while caches of the libraries fill
    (slope, _), covariance = np.polyfit(watch.steps[first:], watch.bytes[first:], 1, cov=True)
    return {
        "steps": watch.steps,
        "bytes": watch.bytes,
        "files": watch.files,
        "slope": slope,
        "slope_error": float(np.sqrt(covariance[0, 0])),
        "names": sorted(watch.names),
        "left": sorted(path.name for path in watch.checkpoints.iterdir()),
    }


def main() -> int:
    """Print what was seen, and as the last line all of it as JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("steps", type=int)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        seen = long_run(arguments.steps, Path(folder))
    third = len(seen["bytes"]) // 3
    print(f"memory      {seen['bytes'][third] / 1e6:.1f} MB after a third, {seen['bytes'][-1] / 1e6:.1f} MB at the end")
    print(f"slope       {seen['slope']:.0f} ± {seen['slope_error']:.0f} bytes a step")
    print(f"open files  {min(seen['files'][third:])} to {max(seen['files'][third:])}")
    print(f"checkpoints {', '.join(seen['names'])}; at the end {', '.join(seen['left'])}")
    print(json.dumps(seen))
    return 0


if __name__ == "__main__":
    sys.exit(main())
