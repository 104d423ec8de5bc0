"""One training step: supervised loss plus the method's terms."""

from collections.abc import Sequence
from typing import Any

import torch
import torch.distributed as dist
from lightning.pytorch import LightningModule
from torch import Tensor, nn

from fakd.console import say
from fakd.data import Sample
from fakd.data.loading import mixed_seed
from fakd.evaluation import confusion_matrix, predict_logits, scores_from_confusion, to_float_images
from fakd.functional import cross_entropy
from fakd.methods import Method
from fakd.methods.schedules import poly
from fakd.models.network import CONFIG_KEY, NOTES_KEY, Network
from fakd.training.compiling import compiled
from fakd.training.config import RunConfig
from fakd.types import SegmentationOutput


class DistillationModule(LightningModule):
    """A student, the method that teaches it, and their optimizer.

    The teacher is neither a submodule nor in the checkpoints: it is frozen, in eval mode, and follows the student to
    its device. Where batches bring its logits from a cache, there is none.
    """

    def __init__(
        self,
        student: Network,
        method: Method,
        teacher: nn.Module | None,
        config: RunConfig,
        classes: Sequence[str],
    ) -> None:
        super().__init__()
        self.student = student
        self.method = method
        self.teachers = (teacher.eval().requires_grad_(False),) if teacher is not None and method.needs_teacher else ()
        # Compiled, it is another module; in a tuple it is no submodule, and checkpoints have the plain names.
        self._learner: tuple[Any] = (student,)
        self.channels_last = False
        self.config = config
        self.classes = tuple(classes)
        self.confusion = confusion_matrix(len(classes))
        self.inference = config.inference(config.spec.window)
        self._sizes_said = False

    def on_fit_start(self) -> None:
        """Bring the teacher to the device, and both networks into the form that is asked for."""
        for teacher in self.teachers:
            teacher.to(self.device)
        self.channels_last = _channels_last(self.config, self.device)
        if self.channels_last:
            self.student.to(memory_format=torch.channels_last)
        if self.config.compile:
            self._learner = (compiled(self.student),)
            self.teachers = tuple(compiled(teacher) for teacher in self.teachers)

    def on_train_batch_start(self, batch: Sample, batch_idx: int) -> None:
        """Make the step's random draws depend on (seed, step, rank) alone, so that a resumed run repeats them."""
        torch.manual_seed(mixed_seed("step", self.config.seed, self.global_step, self.global_rank))

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Say which network it holds, so that it can be opened as one."""
        notes = self.config.spec.notes(self.config.base_size)
        checkpoint[NOTES_KEY] = {CONFIG_KEY: self.student.config.to_json(), **notes}

    def training_step(self, batch: Sample, batch_idx: int) -> Tensor:
        """The sum of the loss terms; callbacks find each by its name in `loss_terms`."""
        terms = self.terms(batch, self.global_step)
        self.loss_terms = {name: term.detach() for name, term in terms.items()}
        return torch.stack(list(terms.values())).sum()

    def terms(self, batch: Sample, step: int) -> dict[str, Tensor]:
        """The loss terms of a batch, weighted, after so many steps; `teacher_is_finite` says so of its logits."""
        images, labels = to_float_images(batch.image), batch.label.long()
        output = self._learn(images)
        average = self.config.ce_average
        terms = {"ce": cross_entropy(output.logits, labels, average=average)}
        if output.aux is not None:
            terms["aux"] = self.config.aux_weight * cross_entropy(output.aux, labels, average=average)
        taught = self._teach(images, batch.teacher_logits)
        self.teacher_is_finite = _is_finite(labels if taught is None else taught.logits)
        self._say_sizes(output, taught)
        terms.update(self.method(output, taught, labels, step, images=images))
        return terms

    def _learn(self, images: Tensor) -> SegmentationOutput:
        if self.channels_last:
            images = images.contiguous(memory_format=torch.channels_last)
        output: SegmentationOutput = self._learner[0](images)
        return output

    def _teach(self, images: Tensor, cached: Tensor) -> Any:
        """The teacher's output; from a cache the logits alone, with no channel of features."""
        if cached.ndim == images.ndim:
            return SegmentationOutput(cached, features=cached[:, :0])
        with torch.no_grad():
            return self.teachers[0](images) if self.teachers else None

    def _say_sizes(self, output: SegmentationOutput, taught: SegmentationOutput | None) -> None:
        """Say once that the teacher's maps are resized, where they are."""
        ours, theirs = (tuple(maps.logits.shape[-2:]) if maps else None for maps in (output, taught))
        if not self._sizes_said and theirs not in (None, ours):
            say(f"resizing  the teacher's maps from {theirs} to the student's {ours}, bilinearly")
        self._sizes_said = True

    def on_validation_start(self) -> None:
        """Let all ranks evaluate the same network."""
        self._take_statistics()

    def on_train_end(self) -> None:
        """Let all ranks end with the same network."""
        self._take_statistics()

    def _take_statistics(self) -> None:
        """Take over the first rank's batch statistics, which alone are saved.

        Synchronised ones are the same already. Nothing reads them in training, so once before an evaluation will do.
        """
        if self.trainer.world_size == 1:
            return
        for layer in self.modules():
            if isinstance(layer, nn.modules.batchnorm._BatchNorm):
                for buffer in layer.buffers(recurse=False):
                    dist.broadcast(buffer, src=0)

    def validation_step(self, batch: Sample, batch_idx: int) -> None:
        """Count an image at its label's own size."""
        labels = batch.label.long()
        logits = predict_logits(self.student, batch.image, labels.shape[-2:], self.inference)
        self.confusion.update(logits.argmax(1), labels)

    def on_validation_epoch_end(self) -> None:
        """Log the scores of the whole split."""
        scores = scores_from_confusion(self.confusion.compute(), self.classes)
        self.log_dict({"val/mIoU": scores.mIoU, "val/mAcc": scores.mAcc, "val/aAcc": scores.aAcc})
        self.confusion.reset()

    def configure_optimizers(self) -> Any:
        """SGD over the student and whatever the method learns, with the poly schedule."""
        config = self.config
        optimizer = torch.optim.SGD(
            [parameter for parameter in self.parameters() if parameter.requires_grad],
            lr=config.learning_rate or config.spec.learning_rate,
            momentum=config.momentum,
            weight_decay=config.weight_decay,
        )
        scheduler = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: poly(step, config.max_steps))
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": scheduler, "interval": "step"}}


def _is_finite(tensor: Tensor) -> Tensor:
    return tensor.detach().isfinite().all()


def _channels_last(config: RunConfig, device: torch.device) -> bool:
    """Whether the student is to be channels-last.

    A GPU's 16-bit convolutions run on that layout and would copy to it; on a CPU a step takes a tenth longer.
    """
    default = device.type == "cuda" and config.precision != "32-true"
    return default if config.channels_last is None else config.channels_last
