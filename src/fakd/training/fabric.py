"""Lightning Fabric as a run uses it: its devices, processes, precision and loggers."""

import torch
from lightning_fabric import Fabric
from lightning_fabric.loggers.logger import Logger
from lightning_fabric.loggers.tensorboard import TensorBoardLogger
from lightning_fabric.strategies.ddp import DDPStrategy
from lightning_fabric.utilities.exceptions import MisconfigurationException

from fakd.console import say
from fakd.data.batches import SegmentationData
from fakd.models.names import NetworkName
from fakd.training.config import RunConfig
from fakd.training.launch import cluster_environment
from fakd.training.metrics_file import MetricsFile
from fakd.training.run_folder import RunFolder
from fakd.training.tracker import create_trackers


def create_fabric(config: RunConfig, folder: RunFolder) -> Fabric:
    """Make the Fabric of a run; `launch` starts the processes that nobody has started.

    Raises:
        ValueError: the machine has no such device, or not as many.
    """
    starts = len(list(folder.logs.glob("csv/*")))
    return _fabric(
        config,
        # Written at once: a run that is killed and resumed must have every row before its checkpoint.
        MetricsFile(folder.logs, name="csv", version=f"{starts:03d}", flush_logs_every_n_steps=1),
        TensorBoardLogger(folder.logs, name="tensorboard", version=""),
        *create_trackers(config, folder.root, folder.logs),
    )


def check_machine(config: RunConfig) -> None:
    """Look whether the devices of a run are there, and if it is to be compiled, a compiler that works.

    Raises:
        ValueError: they are not; the message says what is missing.
    """
    device = _fabric(config).device
    if config.compile:
        check_compiler(device)


def _fabric(config: RunConfig, *loggers: Logger) -> Fabric:
    foreign = NetworkName.parse(config.trained_network).is_foreign
    try:
        return Fabric(
            accelerator=config.accelerator,
            devices=config.devices,
            num_nodes=config.num_nodes,
            # Buffers are the same on all ranks by themselves, and CIRKD's are a gigabyte: DDP must not send the first
            # rank's around at every step. The exception, batch statistics on CPUs, the loop deals with.
            # Other libraries' networks have parameters that no score depends on.
            strategy=DDPStrategy(broadcast_buffers=False, find_unused_parameters=foreign)
            if config.processes > 1
            else "auto",
            plugins=[cluster_environment()],
            precision=config.precision,
            loggers=list(loggers),
        )
    except (RuntimeError, MisconfigurationException) as error:  # no such hardware, or not as many
        raise ValueError(
            f"this machine cannot train on accelerator {config.accelerator!r} with {config.devices} devices: {error}"
        ) from error


def say_step(config: RunConfig, device: torch.device, data: SegmentationData) -> None:
    """Print what a step consists of, whether that is as in the paper, and how often the images are seen in all."""
    total, others = sum(config.crops), config.crops[1]
    shares = f" ({total // config.processes} in each of {config.processes} processes)" if config.processes > 1 else ""
    unlabelled = f", {others} of them of images without labels" if others else ""
    crops = f"step      {total} crops{shares}{unlabelled}"
    if config.recipe == "paper" and config.optimizer == "sgd":
        say(f"{crops}, learning rate {config.learning_rate:g} at first")
        paper = {"batch_size": RunConfig.batch_size, "learning_rate": config.spec.learning_rate}
        if differ := [f"{name} {value:g}" for name, value in paper.items() if getattr(config, name) != value]:
            say(
                f"step      the recipe has {' and '.join(differ)}: scores may differ from the published ones",
                style="yellow",
            )
    else:
        warmup = f", after {config.warmup_steps} steps of warm-up" if config.warmup_steps else ""
        say(
            f"{crops}, {config.optimizer}, learning rate {config.learning_rate:g}, {config.schedule}{warmup}; recipe "
            f"{config.recipe}, {config.max_steps} steps"
        )
    labelled, images = config.crops[0], data.unlabelled if config.crops[0] == 0 else data.source("train")
    if images is not None and config.max_steps is not None:
        passes = config.max_steps * (labelled or others) / len(images)
        say(f"length    {config.max_steps} steps, {passes:.3g} passes over {len(images)} images")
    if config.precision == "16-mixed" and device.type == "cpu":
        say("step      16-mixed is for GPUs: on a CPU, bf16-mixed takes its place", style="yellow")


def check_compiler(device: torch.device) -> None:
    """Compile one addition, so that a machine that cannot is found before the run and not at its first step.

    Raises:
        ValueError: torch.compile does not work here; the message says why.
    """
    # What an earlier run in this process compiled would count against the limit of recompilations.
    torch.compiler.reset()
    try:
        torch.compile(torch.add, dynamic=False)(torch.ones(2, device=device), 1)
    except Exception as error:  # what is missing shows in many ways
        cause = error.__cause__ or error
        reason = next((line.strip() for line in str(cause).splitlines() if line.strip()), type(cause).__name__)
        raise ValueError(
            f"torch.compile does not work on this machine ({reason}). It needs a C++ compiler such as g++, on GPUs "
            "Triton too: install what is missing, or leave --compile out."
        ) from error
