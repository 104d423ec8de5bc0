"""The channel-wise divergences by Triton kernels: one pass over the logits each way, row statistics kept.

The formulas are those of `channel_blocks` and `channel_tight_blocks`, which are the reference of their tests.
"""

from typing import NamedTuple

import torch
from torch import Tensor

from fakd.functional import fused
from fakd.functional.channel_blocks import Maps

MOST_COLUMNS = 256
"""Columns of a table: label 255 is no class. More would not fit into the registers of a program."""
_BLOCK, _MAPS, _SPAN = 32, 16, 1024


class Statistics(NamedTuple):
    """What the kernels know of every map on the way back."""

    numbers: Tensor
    """(4, B * C), or (6, B * C) in the tight form."""
    peaks: Tensor | None
    """(B * C,) int32, the position of the largest score, in the tight form."""
    shrinkage: Tensor | None
    """(C, columns) 1 - exp(-2 v), in the tight form."""


def can_fuse(maps: Maps) -> bool:
    """Whether the kernels take these maps."""
    small = maps.table is None or maps.table.shape[1] <= MOST_COLUMNS
    return small and fused.takes(maps.student, maps.teacher, *([] if maps.table is None else [maps.table]))


def fused_divergences(maps: Maps, *, tight: bool) -> tuple[Tensor, Statistics]:
    """(B, C, 1) divergences in nats, and what `fused_divergence_gradients` wants to know."""
    from fakd.functional.triton_channel_kernels import divergence_kernel, tight_divergence_kernel

    batch, classes, height, width = maps.student.shape
    positions = height * width
    rows = maps.student.new_empty((batch, classes, 1), dtype=torch.float32)
    numbers = rows.new_empty(6 if tight else 4, batch * classes)
    labels, table = _tables(maps)
    sizes = (classes, positions, width, table.shape[1], 1 / maps.temperature)
    strides = (*maps.student.stride(), *maps.teacher.stride())
    block = max(16, min(1024, _power_of_two(positions)))
    grid = (batch * classes,)
    with fused.device_of(rows):
        if not tight:
            divergence_kernel[grid](
                maps.student, maps.teacher, labels, table, rows, numbers, *sizes, *strides,
                AUGMENTED=maps.table is not None, BLOCK=block,
            )  # fmt: skip
            return rows, Statistics(numbers, None, None)
        shrinkage = -torch.expm1(-2 * table)
        peaks = torch.empty_like(numbers[0], dtype=torch.int32)
        tight_divergence_kernel[grid](
            maps.student, maps.teacher, labels, table, shrinkage, rows, numbers, peaks, *sizes, *strides, BLOCK=block
        )
        return rows, Statistics(numbers, peaks, shrinkage)


def fused_divergence_gradients(
    maps: Maps, statistics: Statistics, scale: Tensor, *, of_student: bool, of_table: bool
) -> tuple[Tensor | None, Tensor | None]:
    """Gradients of `scale` times the sum of the divergences, by the student's scores and the table.

    Each program sums the table's gradient over its own positions; the parts are added up in a fixed order, so that it
    is the same to the bit every time.
    """
    from fakd.functional.triton_channel_kernels import gradient_kernel

    batch, classes, height, width = maps.student.shape
    positions = height * width
    labels, table = _tables(maps)
    of_table = of_table and maps.table is not None
    parts = -(-positions // _SPAN)
    by_student = torch.empty_like(maps.student) if of_student else None
    by_table = table.new_empty(batch * parts, *table.shape) if of_table else None
    peaks, shrinkage = statistics.peaks, statistics.shrinkage
    gradient = maps.student if by_student is None else by_student
    with fused.device_of(table):
        gradient_kernel[(batch, -(-classes // _MAPS), parts)](
            maps.student, maps.teacher, labels, table, table if shrinkage is None else shrinkage, statistics.numbers,
            labels if peaks is None else peaks, scale, gradient, table if by_table is None else by_table,
            classes, positions, width, table.shape[1], 1 / maps.temperature,
            *maps.student.stride(), *maps.teacher.stride(), *gradient.stride(),
            AUGMENTED=maps.table is not None, TIGHT=peaks is not None, OF_STUDENT=of_student, OF_TABLE=of_table,
            MAPS=_MAPS, BLOCK=_BLOCK, SPAN=_SPAN, COLUMNS=max(16, _power_of_two(table.shape[1])),
            num_warps=8 if of_table else 4,
        )  # fmt: skip
    return by_student, None if by_table is None else by_table.sum(0)


def _tables(maps: Maps) -> tuple[Tensor, Tensor]:
    """Labels and table, contiguous; of the plain form any, which is not read."""
    if maps.labels is None or maps.table is None:
        return maps.student.new_empty(1, dtype=torch.int64), maps.student.new_empty((1, 1), dtype=torch.float32)
    return maps.labels.contiguous(), maps.table.contiguous()


def _power_of_two(number: int) -> int:
    """The smallest that is not below."""
    return 1 << (number - 1).bit_length()
