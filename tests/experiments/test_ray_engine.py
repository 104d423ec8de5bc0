"""Ray: a machine that is lost while it trains, Ctrl-C, and many runs of which none is lost or done twice."""

import os
import signal
import textwrap
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
import torch
from safetensors.torch import load_file

from fakd.experiments.engines import EngineConfig
from fakd.experiments.plan import planned_run
from fakd.experiments.planned_run import PlannedRun
from fakd.experiments.run_queue import run_all
from fakd.training import DistillConfig, distill

pytest.importorskip("ray", reason="Ray is not installed: pip install 'fakd[ray]'")
pytestmark = pytest.mark.slow

# Stands in for `python -m fakd`, without the seconds that PyTorch takes to start, for runs below "quick"; the others
# have the few scenes of the tests.
STAND_IN = """
    import sys
    started = sys.orig_argv[1:3] == ["-m", "fakd"]
    if started and "/quick/" in sys.orig_argv[-1]:
        import json, os, pathlib, signal, time
        config = json.loads(sys.orig_argv[-1])
        run = pathlib.Path(config["output"])
        run.mkdir(parents=True, exist_ok=True)
        with (run / "starts").open("a") as file:
            file.write("x")
        if config["method"] == "cwd":
            def stop(*_):
                (run / "checkpoint").write_text("")
                os._exit(130)
            signal.signal(signal.SIGTERM, stop)
            (run / "half").write_text("")
            time.sleep(60)
        (run / "results.json").write_text('{"mIoU": 1, "mAcc": 2, "seconds": 3}')
        os._exit(0)
    if started:
        from fakd.data import DATASETS
        from tiny import SMALL
        DATASETS["toy-scenes"] = SMALL
"""


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[object]:
    """Two machines of one core, as far as Ray is concerned, and one that only keeps the books."""
    from ray.cluster_utils import Cluster

    site = tmp_path_factory.mktemp("site")
    (site / "sitecustomize.py").write_text(textwrap.dedent(STAND_IN))
    tests = str(Path(__file__).parents[1])
    path = os.pathsep.join([str(site), tests, *filter(None, [os.environ.get("PYTHONPATH")])])
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RAY_USAGE_STATS_ENABLED", "0")
        patch.setenv("PYTHONPATH", path)
        cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 0, "include_dashboard": False})
        nodes = [cluster.add_node(num_cpus=1) for _ in range(2)]
    yield cluster, nodes
    cluster.shutdown()


@pytest.fixture
def engine(cluster) -> EngineConfig:
    return EngineConfig(engine="ray", ray_address=cluster[0].address, cpus=1)


def test_twenty_runs_and_then_ctrl_c(engine, distill_config, tmp_path, capsys) -> None:
    def planned(method: str, seed: int) -> PlannedRun:
        name = f"{method}-seed{seed}"
        return PlannedRun(name, distill_config(method=method, seed=seed, resume=True, output=tmp_path / "quick" / name))

    runs = [planned("none", seed) for seed in range(20)]
    assert run_all(runs, engine) == []
    assert [len((one.folder.root / "starts").read_text()) for one in runs] == [1] * 20
    assert all(one.finished for one in runs)

    long = [planned("cwd", seed) for seed in range(3)]

    def press() -> None:
        while not all((one.folder.root / "half").exists() for one in long[:2]):
            time.sleep(0.1)
        os.kill(os.getpid(), signal.SIGINT)

    threading.Thread(target=press).start()
    assert run_all(long, engine) is None
    assert [(one.folder.root / "checkpoint").exists() for one in long] == [True, True, False]
    assert "stopped with 0 of 3 runs finished" in capsys.readouterr().out


def test_a_lost_machine(engine, cluster, distill_config, tmp_path) -> None:
    """Its run goes on from the checkpoint on the other one, and ends with the bits of one that nothing happened to."""
    own = {"max_steps": 60, "checkpoint_every": 5, "eval_every": 60, "check_data": False, "dataset": "toy-scenes"}
    run = PlannedRun("run", distill_config(**own, resume=True, output=tmp_path / "lost"))
    lost: list[str] = []

    def lose() -> None:
        while not run.folder.last.exists():
            time.sleep(0.02)
        pid = int(run.folder.lock.read_text().partition("pid=")[2].split()[0])
        for node in cluster[1]:
            raylet = node.all_processes["raylet"][0].process.pid
            if pid in [child.pid for child in psutil.Process(raylet).children(recursive=True)]:
                cluster[0].remove_node(node, allow_graceful=False)
                lost.append(node.node_id)

    thread = threading.Thread(target=lose)
    thread.start()
    assert run_all([run], engine) == []
    thread.join()
    assert len(lost) == 1
    assert "resuming  from" in run.log.read_text()
    assert len(list(run.folder.logs.glob("csv/*"))) == 2
    calm = planned_run(run.line.replace(str(run.folder.root), str(tmp_path / "calm")), "it").config
    assert isinstance(calm, DistillConfig)
    distill(calm)
    weights = [load_file(folder / "student.safetensors") for folder in (run.folder.root, tmp_path / "calm")]
    assert weights[0].keys() == weights[1].keys()
    assert all(torch.equal(weights[0][name], weights[1][name]) for name in weights[0])
