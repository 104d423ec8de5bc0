"""Channel-wise KL divergences, plain and under augmentation, as one autograd function."""

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from fakd.functional.inputs import no_autocast, uncompiled
from fakd.functional.kernels.channel_blocks import Maps, Totals, divergence_gradients, divergences
from fakd.functional.kernels.channel_tight import Peaks, tight_divergence_gradients, tight_divergences


def channel_divergence(maps: Maps, *, tight: bool = False) -> Tensor:
    """tau^2 / (B C) times the sum over maps of `divergences`, or of `tight_divergences`.

    Gradients flow to the student's scores and to the table. Between forward and backward nothing is kept but the
    inputs and a few numbers of every map; a second derivative is refused. The same blocks run on every device, with no
    look at a value, so that a host never waits.

    Args:
        maps: what to compare.
        tight: whether the variances come in as `tight_divergences` has it.

    Returns:
        A scalar in nats, in `maps.dtype`.
    """
    with no_autocast(maps.student):
        return _apply(maps.student, maps.teacher.detach(), maps.temperature, maps.labels, maps.table, tight)


class _ChannelDivergence(torch.autograd.Function):
    """Keeps no more than its inputs for the way back, and computes the rest again."""

    @staticmethod
    def forward(
        ctx: Any,
        student: Tensor,
        teacher: Tensor,
        temperature: float,
        labels: Tensor | None,
        table: Tensor | None,
        tight: bool,
    ) -> Tensor:
        maps = Maps(student, teacher, temperature, labels, table)
        statistics: Peaks | Totals
        rows, statistics = tight_divergences(maps) if tight else divergences(maps)
        ctx.save_for_backward(student, teacher, labels, table, *statistics)
        ctx.tight = tight
        ctx.temperature = temperature
        ctx.factor = temperature**2 / rows.numel()
        value: Tensor = rows.sum() * ctx.factor
        return value

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        student, teacher, labels, table, *statistics = ctx.saved_tensors
        maps = Maps(student, teacher, ctx.temperature, labels, table)
        scale = grad * ctx.factor
        wanted = {"of_student": ctx.needs_input_grad[0], "of_table": ctx.needs_input_grad[4]}
        if ctx.tight:
            of_student, of_table = tight_divergence_gradients(maps, Peaks(*statistics), scale, **wanted)
        else:
            of_student, of_table = divergence_gradients(maps, Totals(*statistics), scale, **wanted)
        return of_student, None, None, None, of_table, None


@uncompiled
def _apply(*inputs: Any) -> Tensor:
    value: Tensor = _ChannelDivergence.apply(*inputs)
    return value
