"""Who starts the processes of a run: torchrun, Slurm, or this package by itself."""

import os
from dataclasses import dataclass

from lightning_fabric.plugins.environments.cluster_environment import ClusterEnvironment
from lightning_fabric.plugins.environments.lightning import LightningEnvironment
from lightning_fabric.plugins.environments.slurm import SLURMEnvironment
from lightning_fabric.plugins.environments.torchelastic import TorchElasticEnvironment


@dataclass(frozen=True)
class Launch:
    """Processes that something else has started, this one among them."""

    by: str
    """What started them."""
    devices: int
    """How many on each machine."""
    num_nodes: int
    """On how many machines."""

    def check(self, devices: int, num_nodes: int) -> None:
        """Compare with what a user asked for; 1, the default, is taken for nothing.

        Raises:
            ValueError: another number was asked for than was started.
        """
        for option, asked, found, what in (
            ("devices", devices, self.devices, "processes on each machine"),
            ("num_nodes", num_nodes, self.num_nodes, "machines"),
        ):
            if asked not in (1, found):
                raise ValueError(
                    f"{option} is {asked}, but {self.by} started {found} {what}: leave --{option} out, or let both say "
                    "the same."
                )


def launched() -> Launch | None:
    """Find out whether torchrun or srun started this process, and how many others with it.

    Slurm counts only where srun started several tasks: its batch script is one process that may start its own.

    Raises:
        ValueError: the processes are not shared out evenly among machines.
    """
    if TorchElasticEnvironment.detect():
        return _shared_out("torchrun", int(os.environ["WORLD_SIZE"]), int(os.environ["LOCAL_WORLD_SIZE"]))
    if (tasks := int(os.environ.get("SLURM_STEP_NUM_TASKS", "1"))) > 1:
        if "SLURM_NTASKS_PER_NODE" not in os.environ:
            raise ValueError(
                f"srun started {tasks} tasks without saying how many on each machine: give it --ntasks-per-node."
            )
        return _shared_out("srun", tasks, tasks // int(os.environ.get("SLURM_STEP_NUM_NODES", "1")))
    return None


def share_among_tasks() -> int:
    """Let each task that srun started work by itself, on some of many runs, and be no part of one run.

    Returns:
        How many there are.

    Raises:
        ValueError: torchrun started this process, whose processes are always one run's.
    """
    if TorchElasticEnvironment.detect():
        raise ValueError("this command starts its runs by itself: start it without torchrun, and give it --devices.")
    return int(os.environ.pop("SLURM_STEP_NUM_TASKS", "1"))


def cluster_environment() -> ClusterEnvironment:
    """Return how Fabric finds the other processes.

    By itself it would take a batch script of Slurm for one of several tasks, and answer Slurm's signals too.
    """
    launch = launched()
    if launch is None:
        return LightningEnvironment()
    return TorchElasticEnvironment() if launch.by == "torchrun" else SLURMEnvironment(auto_requeue=False)


def _shared_out(by: str, processes: int, on_each: int) -> Launch:
    if on_each < 1 or processes % on_each:
        raise ValueError(
            f"{by} started {processes} processes, {on_each} of them here: every machine must have the same number."
        )
    return Launch(by, on_each, processes // on_each)
