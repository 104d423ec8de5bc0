"""The divergence between class maps, plain or augmented, as one differentiable function."""

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from fakd.functional.channel_blocks import Maps, Totals, divergence_gradients, divergences
from fakd.functional.channel_tight_blocks import Peaks, tight_divergence_gradients, tight_divergences
from fakd.functional.fused import fused_or
from fakd.functional.fused_check import hold_channel_kernels
from fakd.functional.inputs import no_autocast
from fakd.functional.triton_channel import Statistics, can_fuse, fused_divergence_gradients, fused_divergences


def channel_divergence(maps: Maps, *, tight: bool = False) -> Tensor:
    """tau^2 / (B C) times the sum over maps of `divergences`, or of `tight_divergences`.

    Gradients flow to the student's scores and to the table. Between forward and backward nothing is kept but the
    inputs and a few numbers of every map; a second derivative is refused. On CUDA devices Triton kernels do it, if
    Triton is there; the same blocks run on every device, with no look at a value, so that a host never waits.

    Args:
        maps: what to compare.
        tight: whether the variances come in as `tight_divergences` has it.

    Returns:
        A scalar in nats, in `maps.dtype`.
    """
    with no_autocast(maps.student):
        value: Tensor = _apply(maps.student, maps.teacher.detach(), maps.temperature, maps.labels, maps.table, tight)
    return value


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
        name = f"{'plain' if table is None else 'tight' if tight else 'augmented'} channel-wise divergences"

        def by_blocks() -> tuple[Tensor, Peaks | Totals]:
            return tight_divergences(maps) if tight else divergences(maps)

        def by_kernels() -> tuple[Tensor, Statistics]:
            hold_channel_kernels(name, maps, tight=tight)
            return fused_divergences(maps, tight=tight)

        statistics: Peaks | Totals | Statistics
        if can_fuse(maps):
            rows, statistics = fused_or(name, by_kernels, by_blocks)
        else:
            rows, statistics = by_blocks()
        ctx.save_for_backward(student, teacher, labels, table, *statistics)
        ctx.kind = type(statistics)
        ctx.name, ctx.tight = name, tight
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
        if ctx.kind is Peaks:
            of_student, of_table = tight_divergence_gradients(maps, Peaks(*statistics), scale, **wanted)
        elif ctx.kind is Totals:
            of_student, of_table = divergence_gradients(maps, Totals(*statistics), scale, **wanted)
        else:
            of_student, of_table = fused_or(
                ctx.name,
                lambda: fused_divergence_gradients(maps, Statistics(*statistics), scale, **wanted),
                lambda: _gradients_by_blocks(maps, scale, tight=ctx.tight, **wanted),
            )
        return of_student, None, None, None, of_table, None


def _gradients_by_blocks(
    maps: Maps, scale: Tensor, *, tight: bool, of_student: bool, of_table: bool
) -> tuple[Tensor | None, Tensor | None]:
    """Where a kernel gave the value and another one fails: the blocks, which find out their own normalisers again."""
    wanted = {"of_student": of_student, "of_table": of_table}
    if tight:
        return tight_divergence_gradients(maps, tight_divergences(maps)[1], scale, **wanted)
    return divergence_gradients(maps, divergences(maps)[1], scale, **wanted)


# Not compiled: a loop over blocks would be unrolled into a huge graph.
_apply = torch.compiler.disable(_ChannelDivergence.apply)  # type: ignore[no-untyped-call]
