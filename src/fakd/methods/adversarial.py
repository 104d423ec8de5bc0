"""The adversarial term that SKDS and IFVD share: a discriminator that trains beside the student."""

from collections.abc import Callable
from typing import Any, Literal

import torch
import torch.distributed as dist
from torch import Tensor, nn

from fakd.functional.adversarial import (
    adversarial_loss,
    gradient_penalty,
    hinge_critic_loss,
    wasserstein_critic_loss,
)
from fakd.functional.inputs import check_choice, check_logits, full_precision, no_autocast
from fakd.machine import processes
from fakd.methods.discriminator import Discriminator
from fakd.methods.options import check_positive
from fakd.methods.schedules import poly

Adversary = Literal["hinge", "wgan-gp"]

_BETAS = (0.0, 0.99)
"""Of the discriminator's Adam."""
_PENALTY = 10.0
"""Weight of the gradient penalty of "wgan-gp"."""


class AdversarialTerm(nn.Module):
    """Match the teacher's class probabilities as a discriminator, which sees the image beside them, judges them.

    In training mode each call first updates the discriminator once on this batch, then asks the updated one. Its
    parameters are frozen at all other times, so the run's optimizer never sees them. Its own optimizer (Adam,
    the learning rate falling by `poly`) is in the state_dict, so that a resumed run continues exactly. Under
    `torch.distributed` its gradients are averaged over the ranks; it must then be called on every rank. All of it is
    computed in float32.

    Hinge is the default: it costs less (with the penalty a call takes about one and a half times as long), and its
    loss can be read, from 2 (tells nothing apart) to 0 (tells all apart with a margin). On a small pair of networks,
    200 steps and a weight of 0.1, both kinds stayed finite, the gap between teacher and student grew and then
    closed, and the student did not suffer; at a weight of 1 either kind ruined it. The failures reported of the
    authors' WGAN-GP have two likely sources, both absent here: the square root of a sum of squares at 0, whose
    gradient is NaN, and unbounded scores as the discriminator's input.

    Args:
        num_classes: C.
        max_steps: T, length of the run in optimizer steps.
        kind: "hinge", with spectral normalisation, or "wgan-gp", with a gradient penalty.
        learning_rate: of the discriminator, at the first step.
        in_channels: of the images.

    Attributes:
        last_loss: the discriminator's own loss at its last update, for the log; it is no part of the student's.
    """

    last_loss: Tensor

    def __init__(
        self,
        num_classes: int,
        *,
        max_steps: int,
        kind: Adversary = "hinge",
        learning_rate: float = 4e-4,
        in_channels: int = 3,
    ) -> None:
        super().__init__()
        check_choice(Adversary, **{"the adversary": kind})
        check_positive(**{"the discriminator's learning rate": learning_rate})
        self.num_classes, self.max_steps, self.kind = num_classes, max_steps, kind
        self.learning_rate, self.in_channels = learning_rate, in_channels
        self.discriminator = Discriminator(
            num_classes, in_channels=in_channels, normalise=kind == "hinge"
        ).requires_grad_(False)
        self.register_buffer("last_loss", torch.zeros(()), persistent=False)
        self._optimizer = self._new_optimizer()
        self.register_load_state_dict_post_hook(AdversarialTerm._renew_optimizer)  # type: ignore[no-untyped-call]
        self._ranks_agree = False

    def forward(self, student_logits: Tensor, teacher_logits: Tensor, images: Tensor | None, step: int) -> Tensor:
        """Update the discriminator (in training mode), and rate the student by it.

        Args:
            student_logits: (B, C, h, w) raw scores.
            teacher_logits: (B, C, h, w); no gradient flows into them.
            images: (B, 3, H, W) RGB in [0, 1].
            step: optimizer steps done so far.

        Returns:
            The student's term, a scalar, 0 when both are rated alike; see `adversarial_loss`.

        Raises:
            ValueError: the shapes do not fit, or there are no images.
        """
        images = self._checked(student_logits, teacher_logits, images)
        with no_autocast(student_logits):
            student = full_precision(student_logits).softmax(1)
            teacher = full_precision(teacher_logits.detach()).softmax(1)
            if self.training:
                self._update(student.detach(), teacher, images, step)
            with torch.no_grad():
                teacher_ratings = self.discriminator(teacher, images)
            return adversarial_loss(self.discriminator(student, images), teacher_ratings)

    def _update(self, student: Tensor, teacher: Tensor, images: Tensor, step: int) -> None:
        """One step of the discriminator's optimizer."""
        parameters = list(self.discriminator.parameters())
        self._agree()
        self.discriminator.train().requires_grad_(True)  # in training it also refines its spectral norms
        try:
            with torch.enable_grad():
                loss = self._critic_loss(student, teacher, images)
                gradients = torch.autograd.grad(loss, parameters)
        finally:
            self.discriminator.eval().requires_grad_(False)
        for parameter, gradient in zip(parameters, _average(gradients), strict=True):
            parameter.grad = gradient
        self._optimizer.param_groups[0]["lr"] = self.learning_rate * poly(step, self.max_steps)
        self._optimizer.step()
        self._optimizer.zero_grad()
        self.last_loss.copy_(loss.detach())

    def _critic_loss(self, student: Tensor, teacher: Tensor, images: Tensor) -> Tensor:
        both = self.discriminator(torch.cat([student, teacher]), torch.cat([images, images]))
        ratings = both.chunk(2)
        if self.kind == "hinge":
            return hinge_critic_loss(*ratings)
        shares = torch.rand(len(student), device=student.device, dtype=student.dtype)
        steepness = gradient_penalty(lambda maps: self.discriminator(maps, images), student, teacher, shares)
        return wasserstein_critic_loss(*ratings) + _PENALTY * steepness

    def _checked(self, student_logits: Tensor, teacher_logits: Tensor, images: Tensor | None) -> Tensor:
        """The images, without gradient, if all fits."""
        check_logits(student_logits, teacher_logits, 1.0)
        if student_logits.shape[1] != self.num_classes:
            raise ValueError(
                f"the discriminator was made for {self.num_classes} classes, got scores of {student_logits.shape[1]}."
            )
        if images is None:
            raise ValueError(
                "the adversarial term looks at the images beside the scores: pass images=(B, 3, H, W), RGB in "
                "[0, 1], got None. Without them set its weight to 0."
            )
        if images.ndim != 4 or images.shape[:2] != (len(student_logits), self.in_channels):
            raise ValueError(
                f"images must be (B, {self.in_channels}, H, W) with B = {len(student_logits)} like the scores, "
                f"got {tuple(images.shape)}."
            )
        return images.detach()

    # the optimizer's state: saved, loaded, moved

    def _new_optimizer(self) -> torch.optim.Adam:
        return torch.optim.Adam(self.discriminator.parameters(), lr=self.learning_rate, betas=_BETAS)

    def get_extra_state(self) -> dict[str, Any]:
        """The optimizer's state, as part of this module's state_dict."""
        return self._optimizer.state_dict()

    def set_extra_state(self, state: dict[str, Any]) -> None:
        """Take the optimizer's state from a checkpoint."""
        self._optimizer.load_state_dict(state)

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> "AdversarialTerm":
        """Whatever moves the parameters to another device or type takes the optimizer's moments along."""
        super()._apply(fn, recurse)  # type: ignore[no-untyped-call]
        self._renew_optimizer()
        return self

    def _renew_optimizer(self, *_: object) -> None:
        """The same optimizer for the parameters as they are now; `load_state_dict(assign=True)` replaces them too."""
        state, self._optimizer = self._optimizer.state_dict(), self._new_optimizer()
        self._optimizer.load_state_dict(state)

    # several processes

    def _agree(self) -> None:
        """Before the first update, take over the first rank's weights."""
        if not self._ranks_agree and processes() > 1:
            for tensor in (*self.discriminator.parameters(), *self.discriminator.buffers()):
                dist.broadcast(tensor.data, src=0)
        self._ranks_agree = True


def _average(gradients: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    """The mean over the ranks, in one exchange."""
    if processes() == 1:
        return gradients
    flat = torch.cat([gradient.flatten() for gradient in gradients])
    dist.all_reduce(flat)
    parts = torch.split(flat / processes(), [gradient.numel() for gradient in gradients])
    return tuple(part.view_as(gradient) for part, gradient in zip(parts, gradients, strict=True))
