"""Stands in for `python` in on_gpu.sh: the real scripts on the smallest networks, a comparison's runs in one process.

python tests/benchmarks/tiny_python.py benchmarks/step.py
python tests/benchmarks/tiny_python.py -m fakd compare
"""

import runpy
import sys
from pathlib import Path
from typing import Any

TESTS = Path(__file__).parents[1]
sys.path[:0] = [str(TESTS), str(TESTS / "experiments")]

from grid_runs import RunHere  # noqa: E402
from tiny import SMALL  # noqa: E402

import fakd.models  # noqa: E402
from fakd.cli import main  # noqa: E402
from fakd.data import DATASETS  # noqa: E402
from fakd.experiments import local_engine  # noqa: E402

SMALLER = {"pspnet-r101": "pspnet/test_resnet", "pspnet-r18": "pspnet/test_efficientnet"}
original = fakd.models.create_model


class Here(RunHere):
    """Trains."""

    started: list[Any] = []  # noqa: RUF012
    fail = staticmethod(lambda config: None)
    before = staticmethod(lambda config: None)
    student = None


if __name__ == "__main__":
    DATASETS["toy-scenes"] = SMALL  # type: ignore[index]
    if sys.argv[1:3] == ["-m", "fakd"]:
        local_engine.RunProcess = Here  # type: ignore[misc]
        sys.exit(main(sys.argv[3:]))
    fakd.models.create_model = lambda name, **options: original(SMALLER[name], **options)
    del sys.argv[0]
    sys.path.insert(0, str(Path(sys.argv[0]).parent))
    runpy.run_path(sys.argv[0], run_name="__main__")
