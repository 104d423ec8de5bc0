"""Lightning's Trainer as this project uses it."""

import sys
from typing import TypeVar

import torch
from lightning.pytorch import Callback, Trainer
from lightning.pytorch.loggers import TensorBoardLogger
from lightning.pytorch.strategies import DDPStrategy

from fakd.console import say
from fakd.models.foreign import is_foreign
from fakd.training.callbacks import LastCheckpoint, LogTerms, ProgressReport
from fakd.training.checkpoints import BestCheckpoint, CheckpointFiles
from fakd.training.config import RunConfig
from fakd.training.launch import cluster_environment
from fakd.training.nonfinite import StopOnNonFinite
from fakd.training.run_folder import MetricsFile, RunFolder
from fakd.training.timing import LoaderClock, StepTimer


def create_trainer(config: RunConfig, folder: RunFolder) -> Trainer:
    """Make the Trainer of a run, with its loggers and callbacks."""
    every, eval_every, log_every = config.checkpoint_every, config.eval_every, config.log_every
    assert isinstance(every, int)  # RunConfig resolves all three
    assert isinstance(eval_every, int)
    assert isinstance(log_every, int)
    loader_clock = LoaderClock()
    starts = len(list(folder.logs.glob("csv/*")))
    return Trainer(
        accelerator=config.accelerator,
        devices=config.devices,
        num_nodes=config.num_nodes,
        # Buffers are the same on all ranks by themselves, and CIRKD's are a gigabyte: DDP must not send the first
        # rank's around at every step. The exception, batch statistics on CPUs, the module deals with.
        # Other libraries' networks have parameters that no score depends on.
        strategy=DDPStrategy(broadcast_buffers=False, find_unused_parameters=is_foreign(config.trained_network))
        if config.processes > 1
        else "auto",
        plugins=[cluster_environment(), CheckpointFiles(folder, config.keep_checkpoints)],
        precision=config.precision,
        # on several CPUs, where PyTorch has no synchronised form, each process normalises by its own batch
        sync_batchnorm=config.processes > 1 and config.accelerator != "cpu" and torch.cuda.is_available(),
        max_steps=config.max_steps,
        val_check_interval=eval_every,
        check_val_every_n_epoch=None,
        num_sanity_val_steps=0,
        log_every_n_steps=log_every,
        use_distributed_sampler=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        profiler=loader_clock,
        logger=[
            # Written at once: a run that is killed and resumed must have every row before its checkpoint.
            MetricsFile(folder.logs, name="csv", version=f"{starts:03d}", flush_logs_every_n_steps=1),
            TensorBoardLogger(folder.logs, name="tensorboard", version=""),
        ],
        callbacks=[
            LogTerms(log_every),
            StopOnNonFinite(log_every, folder.nonfinite),
            ProgressReport(config.max_steps, log_every),
            StepTimer(loader_clock),
            BestCheckpoint(folder),
            LastCheckpoint(folder.last, every, eval_every),
        ],
    )


def say_step(config: RunConfig, device: torch.device) -> None:
    """Print what a step consists of, and whether that is as in the paper; and what this device does differently."""
    recipe = {"batch_size": RunConfig.batch_size, "learning_rate": config.spec.learning_rate}
    shares = f" ({config.batch_size // config.processes} in each of {config.processes} processes)"
    say(
        f"step      {config.batch_size} crops{shares if config.processes > 1 else ''}, "
        f"learning rate {config.learning_rate:g} at first"
    )
    if differ := [f"{name} {value:g}" for name, value in recipe.items() if getattr(config, name) != value]:
        say(
            f"step      the recipe has {' and '.join(differ)}: scores may differ from the published ones",
            style="yellow",
        )
    if config.precision == "16-mixed" and device.type == "cpu":
        say("step      16-mixed is for GPUs: on a CPU, bf16-mixed takes its place", style="yellow")


_C = TypeVar("_C", bound=Callback)


def find_callback(trainer: Trainer, kind: type[_C]) -> _C:
    """Return the Trainer's callback of that class."""
    return next(callback for callback in trainer.callbacks if isinstance(callback, kind))  # type: ignore[attr-defined]


def peak_memory(device: torch.device) -> int | None:
    """Return the most bytes that this process has held at once: on a GPU in tensors there, else in all.

    None on Windows, which keeps no such count for a process in Python's reach.
    """
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    if sys.platform == "win32":
        return None
    import resource  # there is none on Windows

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024
