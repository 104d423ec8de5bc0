"""The pixel-wise divergences, plain and the paper's, by Triton kernels that keep nothing but their inputs.

The formulas are those of `pixel_tiles`, which is the reference of their tests.
"""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from fakd.functional import fused
from fakd.functional.pixel_tiles import Table

MOST_CLASSES = 256
"""Label 255 is no class. More would not fit into the registers of a program."""
_BLOCK, _TILE, _SPAN = 16, 16, 1024

Plain = Callable[..., Tensor]
"""The same as PyTorch computes it, which takes over where a kernel fails."""


def can_fuse(student: Tensor, teacher: Tensor, exponents: Tensor | None) -> bool:
    """Whether the kernels take these (B, C, h, w) logits and this (C, C) table."""
    tables = [] if exponents is None else [exponents]
    return student.shape[1] <= MOST_CLASSES and fused.takes(student, teacher, *tables)


def name_of_kernels(exponents: Tensor | None) -> str:
    """What a warning calls them."""
    return f"{'plain' if exponents is None else 'augmented'} pixel-wise divergences"


class FusedPixelDivergence(torch.autograd.Function):
    """`pixel_divergence.pixel_divergence`. The table's gradient is summed in a fixed order."""

    @staticmethod
    def forward(
        ctx: Any, student: Tensor, teacher: Tensor, exponents: Tensor | None, temperature: float, plain: Plain
    ) -> Tensor:
        ctx.save_for_backward(student, teacher, exponents)
        ctx.temperature, ctx.plain = temperature, plain
        return fused_pixel_divergences(student, teacher, exponents, temperature).sum()

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, None, Tensor | None, None, None]:
        student, teacher, exponents = ctx.saved_tensors
        of_student, of_table = ctx.needs_input_grad[0], ctx.needs_input_grad[2]

        def by_kernels() -> tuple[Tensor | None, Tensor | None]:
            wanted = {"of_student": of_student, "of_table": of_table}
            return fused_pixel_gradients(student, teacher, exponents, ctx.temperature, grad, **wanted)

        def by_pytorch() -> tuple[Tensor | None, Tensor | None]:
            with torch.enable_grad():
                z = student.detach().requires_grad_(of_student)
                e = None if exponents is None else exponents.detach().requires_grad_(of_table)
                ctx.plain(z, teacher, e, temperature=ctx.temperature).backward(grad)
            return z.grad, None if e is None else e.grad

        by_student, by_table = fused.fused_or(name_of_kernels(exponents), by_kernels, by_pytorch)
        return by_student, None, by_table, None, None


def fused_pixel_divergences(student: Tensor, teacher: Tensor, exponents: Tensor | None, temperature: float) -> Tensor:
    """(B * h * w,) divergences in nats."""
    values = student.new_empty(student[:, 0].numel(), dtype=torch.float32)
    _launch(student, teacher, _table(exponents), temperature, values=values)
    return values


def fused_pixel_gradients(
    student: Tensor,
    teacher: Tensor,
    exponents: Tensor | None,
    temperature: float,
    grad: Tensor,
    *,
    of_student: bool,
    of_table: bool,
) -> tuple[Tensor | None, Tensor | None]:
    """Gradients of `grad` times the sum of the divergences, by the student's logits and the table."""
    by_student = torch.empty_like(student) if of_student else None
    table = _table(exponents)
    of_table = exponents is not None and of_table
    shares = grad.new_empty((len(student), student.shape[1], student[0, 0].numel()) if of_table else 1)
    tops = grad.new_empty(student[:, 0].numel() if of_table else 1)
    _launch(
        student,
        teacher,
        table,
        temperature,
        gradient=True,
        of_table=of_table,
        upstream=grad,
        of_student=by_student,
        shares=shares,
        tops=tops,
    )
    return by_student, _table_gradient(student, shares, tops, table, temperature, grad) if of_table else None


def _table(exponents: Tensor | None) -> tuple[Tensor, Tensor] | None:
    """The factors and shifts of `Table`, contiguous."""
    if exponents is None:
        return None
    table = Table(exponents.detach().unsqueeze(0))
    return table.factors[0].contiguous(), table.shift.flatten().contiguous()


def _launch(
    student: Tensor,
    teacher: Tensor,
    table: tuple[Tensor, Tensor] | None,
    temperature: float,
    *,
    gradient: bool = False,
    of_table: bool = False,
    values: Tensor | None = None,
    upstream: Tensor | None = None,
    of_student: Tensor | None = None,
    shares: Tensor | None = None,
    tops: Tensor | None = None,
) -> None:
    from fakd.functional.triton_pixel_kernels import pixel_kernel

    batch, classes, height, width = student.shape
    unused = student.new_empty(1, dtype=torch.float32)
    factors, shifts = table or (unused, unused)
    target = student if of_student is None else of_student
    values, upstream, shares, tops = (unused if it is None else it for it in (values, upstream, shares, tops))
    with fused.device_of(student):
        pixel_kernel[(-(-height * width // _BLOCK), batch)](
            student, teacher, factors, shifts, values, upstream, target, shares, tops,
            classes, height * width, width, 1 / temperature, *student.stride(), *teacher.stride(), *target.stride(),
            AUGMENTED=table is not None, GRADIENT=gradient, OF_STUDENT=of_student is not None, OF_TABLE=of_table,
            CLASSES=max(16, 1 << (classes - 1).bit_length()), TILE=_TILE, BLOCK=_BLOCK,
            num_warps=4 if table is None else 8, num_stages=2,
        )  # fmt: skip


def _table_gradient(
    student: Tensor,
    shares: Tensor,
    tops: Tensor,
    table: tuple[Tensor, Tensor] | None,
    temperature: float,
    upstream: Tensor,
) -> Tensor:
    from fakd.functional.triton_pixel_kernels import pixel_table_kernel

    assert table is not None
    batch, classes, height, width = student.shape
    parts = -(-height * width // _SPAN)
    of_table = upstream.new_empty(batch * parts, classes, classes)
    tiles = -(-classes // 64)
    with fused.device_of(student):
        pixel_table_kernel[(tiles, tiles, batch * parts)](
            student, shares, tops, table[0], upstream, of_table,
            classes, height * width, width, 1 / temperature, parts, *student.stride(),
            TILE=64, BLOCK=32, SPAN=_SPAN,
        )  # fmt: skip
    return of_table.sum(0)
