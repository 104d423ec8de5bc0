"""Who is taken to have started the processes."""

import pytest
from lightning_fabric.plugins.environments.lightning import LightningEnvironment
from lightning_fabric.plugins.environments.slurm import SLURMEnvironment
from lightning_fabric.plugins.environments.torchelastic import TorchElasticEnvironment

from fakd.console import is_main_process
from fakd.training import TrainConfig
from fakd.training.launch import Launch, cluster_environment, launched

TORCHRUN = {"TORCHELASTIC_RUN_ID": "x", "RANK": "3", "LOCAL_RANK": "1", "WORLD_SIZE": "4", "LOCAL_WORLD_SIZE": "2"}
# what an sbatch script with --ntasks-per-node=4 on two nodes sees, and what srun adds for each task
BATCH = {"SLURM_JOB_ID": "7", "SLURM_NTASKS": "8", "SLURM_NTASKS_PER_NODE": "4", "SLURM_PROCID": "0"}
SRUN = {**BATCH, "SLURM_STEP_NUM_TASKS": "8", "SLURM_STEP_NUM_NODES": "2", "SLURM_PROCID": "5"}
KNOWN = {*TORCHRUN, *SRUN, "NODE_RANK"}


@pytest.fixture
def variables(monkeypatch):
    for name in KNOWN:
        monkeypatch.delenv(name, raising=False)

    def set_all(values: dict[str, str]) -> None:
        for name, value in values.items():
            monkeypatch.setenv(name, value)

    return set_all


@pytest.mark.parametrize(
    ("given", "launch", "environment"),
    [
        ({}, None, LightningEnvironment),
        (TORCHRUN, Launch("torchrun", 2, 2), TorchElasticEnvironment),
        (BATCH, None, LightningEnvironment),
        (SRUN, Launch("srun", 4, 2), SLURMEnvironment),
        ({**SRUN, **TORCHRUN}, Launch("torchrun", 2, 2), TorchElasticEnvironment),
        ({**BATCH, "SLURM_STEP_NUM_TASKS": "1"}, None, LightningEnvironment),
    ],
    ids=["nobody", "torchrun", "sbatch", "srun", "torchrun in srun", "srun of one task"],
)
def test_launchers(variables, given, launch, environment) -> None:
    variables(given)
    assert launched() == launch
    assert type(cluster_environment()) is environment
    assert getattr(cluster_environment(), "auto_requeue", False) is False


@pytest.mark.parametrize(
    ("given", "main"),
    [
        ({}, True),
        (TORCHRUN, False),
        ({**TORCHRUN, "RANK": "0"}, True),
        ({**TORCHRUN, "RANK": "2", "LOCAL_RANK": "0"}, False),
        (BATCH, True),
        ({**BATCH, "LOCAL_RANK": "1"}, False),  # started by Lightning in a batch script
        ({**BATCH, "LOCAL_RANK": "0"}, True),
        (SRUN, False),
        ({"LOCAL_RANK": "0", "NODE_RANK": "1"}, False),
        ({"NODE_RANK": "1"}, False),
    ],
)
def test_one_process_speaks(variables, given, main) -> None:
    variables(given)
    assert is_main_process() is main


def test_the_launcher_says_how_many(variables) -> None:
    variables(TORCHRUN)
    config = TrainConfig(batch_size=8)
    assert (config.devices, config.num_nodes, config.processes) == (2, 2, 4)
    assert TrainConfig(batch_size=8, devices=2, num_nodes=2).processes == 4
    with pytest.raises(
        ValueError, match=r"devices is 3, but torchrun started 2 processes on each machine: leave --dev"
    ):
        TrainConfig(devices=3)
    with pytest.raises(ValueError, match="num_nodes is 4, but torchrun started 2 machines"):
        TrainConfig(num_nodes=4)
    with pytest.raises(ValueError, match="batch_size 6 does not divide by 4 devices"):
        TrainConfig(batch_size=6)


def test_uneven_launches_are_refused(variables) -> None:
    variables({**TORCHRUN, "WORLD_SIZE": "5"})
    with pytest.raises(
        ValueError, match="torchrun started 5 processes, 2 of them here: every machine must have the same"
    ):
        TrainConfig()


def test_srun_must_say_how_many_on_each_machine(variables, monkeypatch) -> None:
    variables(SRUN)
    monkeypatch.delenv("SLURM_NTASKS_PER_NODE")
    with pytest.raises(ValueError, match=r"srun started 8 tasks .* give it --ntasks-per-node"):
        TrainConfig()
