"""What happens around the steps: the bar, the logs, and checkpoints."""

from pathlib import Path
from typing import Any

import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.callbacks import Checkpoint
from rich.progress import TaskID
from torch import Tensor

from fakd.console import console, progress, say
from fakd.training.stopping import Interrupted, StopRequest
from fakd.training.together import Vote


class LastCheckpoint(Checkpoint):
    """Write the checkpoint to resume from, every so often and where the run is asked to stop.

    Where an evaluation is due it is written after that, and after the best checkpoint: a run resumed at a step
    takes its evaluation for done. Hence `Checkpoint`, which Lightning calls last, in the order of the list.

    Args:
        path: the file to write.
        every: steps between checkpoints; one is written after the last step too.
        eval_every: steps between evaluations.
    """

    def __init__(self, path: Path, every: int, eval_every: int) -> None:
        self.path = path
        self.every = every
        self.eval_every = eval_every
        self.stop = StopRequest()
        self._vote = Vote()

    def on_train_start(self, trainer: Trainer, module: LightningModule) -> None:
        """Be the only one to hear that the run is to stop."""
        self.stop.hear_alone()

    def on_train_batch_end(self, trainer: Trainer, module: LightningModule, *args: Any) -> None:
        """Save if it is time, unless an evaluation comes first."""
        if trainer.global_step % self.eval_every:
            self._save_if_due(trainer)

    def on_validation_end(self, trainer: Trainer, module: LightningModule) -> None:
        """Save if it is time."""
        self._save_if_due(trainer)

    def _save_if_due(self, trainer: Trainer) -> None:
        step = trainer.global_step
        stop = self._vote.any(self.stop.asked)  # or one process would wait for the others for ever
        if stop or step % self.every == 0 or step == trainer.max_steps:
            trainer.save_checkpoint(self.path)
        if stop:
            raise Interrupted.at(step, trainer.max_steps)


class LogTerms(Callback):
    """Write the loss terms to the logs.

    Lightning would do so after the step's checkpoint, and a run killed in between would lack a row once resumed.
    """

    def __init__(self, every: int) -> None:
        self.every = every

    def on_train_batch_end(self, trainer: Trainer, module: LightningModule, *args: Any) -> None:
        """Write the terms and their sum, where it is time; with several processes, their mean."""
        if trainer.global_step % self.every:
            return
        terms: dict[str, Tensor] = module.loss_terms  # type: ignore[assignment]
        values = trainer.strategy.reduce(torch.stack(list(terms.values())), reduce_op="mean")  # over all processes
        row = {f"loss/{name}": value for name, value in zip(terms, values.tolist(), strict=True)}
        row["loss/total"] = values.sum().item()
        watched: dict[str, Tensor] = module.method.watched  # type: ignore[union-attr,assignment]
        row |= {f"watched/{name}": value.item() for name, value in watched.items()}
        for logger in trainer.loggers:
            logger.log_metrics(row, step=trainer.global_step - 1)


class ProgressReport(Callback):
    """A bar with loss terms and time left; a plain line every now and then where nobody watches a terminal."""

    def __init__(self, max_steps: int, every: int) -> None:
        self.every = every
        self.max_steps = max_steps
        self._bar = progress("steps")
        self._task: TaskID | None = None

    def on_train_start(self, trainer: Trainer, module: LightningModule) -> None:
        """Show the bar where the run stands."""
        self._bar.start()
        self._task = self._bar.add_task("training", total=self.max_steps, completed=trainer.global_step, note="")

    def on_train_batch_end(self, trainer: Trainer, module: LightningModule, *args: Any) -> None:
        """Advance; read the loss terms only now and then, because reading makes the host wait."""
        step = trainer.global_step
        assert self._task is not None
        self._bar.update(self._task, completed=step)
        if step % self.every and step != self.max_steps:
            return
        terms: dict[str, Tensor] = module.loss_terms  # type: ignore[assignment]
        note = "  ".join(f"{name} {value.item():.3f}" for name, value in terms.items())
        self._bar.update(self._task, note=note)
        if not console.is_terminal and step % (self.every * 10) == 0:
            say(f"step {step}/{self.max_steps}  {note}")

    def on_validation_end(self, trainer: Trainer, module: LightningModule) -> None:
        """Say how the student does."""
        scores = trainer.callback_metrics
        if not trainer.sanity_checking and "val/mIoU" in scores:
            say(f"step {trainer.global_step}/{self.max_steps}  val mIoU {scores['val/mIoU'].item():.2f}")

    def on_train_end(self, trainer: Trainer, module: LightningModule) -> None:
        """Take the bar away."""
        self._bar.stop()

    def on_exception(self, trainer: Trainer, module: LightningModule, exception: BaseException) -> None:
        """Take the bar away."""
        self._bar.stop()
