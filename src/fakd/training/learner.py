"""What one step computes its loss from: student, teacher, method."""

from typing import Any

import torch
from timm.utils import ModelEmaV3  # type: ignore[attr-defined]
from torch import Tensor, nn

from fakd.console import say
from fakd.data import Sample
from fakd.evaluation import to_float_images
from fakd.functional import resize_labels, teacher_classes
from fakd.machine import processes
from fakd.methods import Method
from fakd.models.network import Network
from fakd.training.config import RunConfig
from fakd.training.freezing import let_frozen_rest
from fakd.training.label_loss import LabelLoss
from fakd.types import UNLABELLED, SegmentationOutput


class Learner(nn.Module):
    """All that one step computes its loss from: the student, the method with what it learns or remembers, the teacher.

    The teacher is neither a submodule nor in the checkpoints: it is frozen, in eval mode, and follows the student to
    its device. Where batches bring its logits from a cache, there is none.
    """

    def __init__(self, student: Network, method: Method, teacher: nn.Module | None, config: RunConfig) -> None:
        super().__init__()
        self.student = student
        self.method = method
        self.label_loss = LabelLoss(config, student.num_classes)
        self.teachers: tuple[Any, ...] = ()
        if teacher is not None and method.needs_teacher:
            self.teachers = (teacher.eval().requires_grad_(False),)
        # Compiled, it is another module; in a tuple it is no submodule, and checkpoints have the plain names.
        self._asked: tuple[Any] = (student,)
        self.channels_last = False
        self.config = config
        self._sizes_said = False
        self.ema: ModelEmaV3 | None = None
        """Mean weights of the student over the steps so far, the latest weighing most; in the checkpoints too."""
        if config.ema:
            # The warm-up keeps a short run's mean from being that of its random weights.
            self.ema = ModelEmaV3(student, decay=config.ema, use_warmup=True).requires_grad_(False)

    def prepare(self, device: torch.device) -> None:
        """Bring both networks to the device, in the form that is asked for."""
        for network in (self, *self.teachers):
            network.to(device)
        if device.type == "cuda" and processes() > 1:
            # on several CPUs, where PyTorch has no such form, each process normalises by its own batch
            nn.SyncBatchNorm.convert_sync_batchnorm(self)  # type: ignore[no-untyped-call]
        self.channels_last = channels_last(self.config, device)
        if self.channels_last:
            self.student.to(memory_format=torch.channels_last)
        if self.config.compile:  # at the first call, for its shape and mode: crops are all of one shape
            self._asked = (torch.compile(self.student, dynamic=False),)
            self.teachers = tuple(torch.compile(teacher, dynamic=False) for teacher in self.teachers)

    @property
    def scored(self) -> Network:
        """What is evaluated, and what the run leaves behind: the student, or its mean weights."""
        return self.student if self.ema is None else self.ema.module

    def train(self, mode: bool = True) -> "Learner":
        """Set the mode of all that learns; a frozen encoder rests, and mean weights are only ever asked."""
        super().train(mode)
        if self.config.freeze_backbone:
            let_frozen_rest(self.student)
        if self.ema is not None:
            self.ema.eval()
        return self

    def forward(self, batch: Sample, step: int) -> dict[str, Tensor]:
        """The loss terms of a batch, weighted, after so many steps; `teacher_is_finite` says so of its logits.

        L = loss(student, labels) + aux_weight * loss(auxiliary head, labels) + the method's terms

        Of unlabelled images, which come last in a batch, the method sees the teacher's classes for labels, and the
        losses on labels see nothing.
        """
        images, labels = to_float_images(batch.image), batch.label.long()
        output = self._ask_student(images)
        own, others = self.config.crops
        labelled = len(labels) * own // (own + others)
        terms: dict[str, Tensor] = self.label_loss(output.logits[:labelled], labels[:labelled])
        if output.aux is not None:
            aux = self.label_loss(output.aux[:labelled], labels[:labelled])
            terms["aux"] = self.config.aux_weight * torch.stack(list(aux.values())).sum()
        taught = self._ask_teacher(images, batch.teacher_logits)
        self.teacher_is_finite = (labels if taught is None else taught.logits).detach().isfinite().all()
        self._say_sizes(output, taught)
        if taught is not None and len(labels) > labelled:
            likely = resize_labels(teacher_classes(taught.logits, self.method.confidence), labels.shape[-2:])
            labels = torch.where(labels == UNLABELLED, likely, labels)
        terms.update(self.method(output, taught, labels, step, images=images))
        return terms

    def _ask_student(self, images: Tensor) -> SegmentationOutput:
        if self.channels_last:
            images = images.contiguous(memory_format=torch.channels_last)
        output: SegmentationOutput = self._asked[0](images)
        return output

    def _ask_teacher(self, images: Tensor, cached: Tensor) -> Any:
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


def channels_last(config: RunConfig, device: torch.device) -> bool:
    """Whether the student is to be channels-last.

    A GPU's 16-bit convolutions run on that layout and would copy to it; on a CPU a step takes a tenth longer.
    """
    default = device.type == "cuda" and config.precision != "32-true"
    return default if config.channels_last is None else config.channels_last
