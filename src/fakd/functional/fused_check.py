"""Triton kernels are held against PyTorch once, before they are trusted: no test can know what a device makes of them.

The first time a process wants a kernel for a kind of logits, it computes a small problem of the same kind (device,
types, number of classes, layout) both ways, there and back: the last block of positions is not full, some labels are
ignored. PyTorch does it in float64. What differs by more than rounding raises, and `fused.fused_or` gives way to
PyTorch. The numbers are made by arithmetic on the device, so no random state moves; the host waits for one answer.
"""

from math import prod

import torch
from torch import Tensor

from fakd.functional.channel_blocks import Maps, divergence_gradients, divergences
from fakd.functional.channel_tight_blocks import tight_divergence_gradients, tight_divergences
from fakd.functional.inputs import no_autocast
from fakd.functional.triton_channel import fused_divergence_gradients, fused_divergences
from fakd.functional.triton_pixel import Plain, fused_pixel_divergences, fused_pixel_gradients

TOLERANCE = {torch.float32: 1e-4, torch.bfloat16: 1e-2, torch.float16: 1e-2}
"""The error, of the largest number, that rounding explains: a hundred times that of float32, one step of bfloat16."""
_CHANNEL_ROWS, _PIXEL_ROWS = 65, 5  # of 16 or 13 positions: more than the kernels take at once
_TEMPERATURE, _UPSTREAM = 2.0, 16.0

_held: set[tuple[object, ...]] = set()


def hold_channel_kernels(name: str, maps: Maps, *, tight: bool) -> None:
    """Hold the kernels for such maps against blocks in PyTorch, if that was not done before.

    Raises:
        ArithmeticError: value or gradients differ.
        Exception: whatever Triton or the device has to say.
    """
    key = _kind(name, maps.student, maps.teacher)
    if key in _held:
        return
    with no_autocast(maps.student):
        student, teacher = _logits(maps.student, _CHANNEL_ROWS, 0.7), _logits(maps.teacher, _CHANNEL_ROWS, 1.3)
        small = Maps(student, teacher, _TEMPERATURE)
        if maps.table is not None:
            batch, classes, positions = student.flatten(2).shape
            labels = torch.arange(batch * positions, device=student.device).mul(7).remainder(classes + 1)
            table = _waves((classes, classes + 1), student, 0.9).abs()
            table[:, -1] = 0  # of ignored labels
            small = small._replace(labels=labels.view(batch, positions), table=table)
        exact = small._replace(
            student=student.double(), teacher=teacher.double(), table=None if small.table is None else table.double()
        )
        scale = student.new_full((), _UPSTREAM, dtype=torch.float32)
        rows, statistics = fused_divergences(small, tight=tight)
        found = rows, *fused_divergence_gradients(small, statistics, scale, of_student=True, of_table=True)
        if tight:
            rows, peaks = tight_divergences(exact)
            gradients = tight_divergence_gradients(exact, peaks, scale, of_student=True, of_table=True)
        else:
            rows, totals = divergences(exact)
            gradients = divergence_gradients(exact, totals, scale, of_student=True, of_table=True)
        _compare(found, (rows, *gradients))
    _held.add(key)


def hold_pixel_kernels(name: str, student: Tensor, teacher: Tensor, exponents: Tensor | None, plain: Plain) -> None:
    """Hold the kernels for such logits against `plain`, if that was not done before. Raises as the other."""
    key = _kind(name, student, teacher)
    if key in _held:
        return
    with torch.inference_mode(False), torch.enable_grad(), no_autocast(student):
        z, q = _logits(student, _PIXEL_ROWS, 0.7), _logits(teacher, _PIXEL_ROWS, 1.3)
        table = None if exponents is None else _waves((z.shape[1], z.shape[1]), z, 0.9)
        upstream = z.new_full((), _UPSTREAM, dtype=torch.float32)
        values = fused_pixel_divergences(z, q, table, _TEMPERATURE)
        gradients = fused_pixel_gradients(z, q, table, _TEMPERATURE, upstream, of_student=True, of_table=True)
        exact = z.double().requires_grad_()
        exact_table = None if table is None else table.double().requires_grad_()
        value = plain(exact, q.double(), exact_table, temperature=_TEMPERATURE)
        value.backward(upstream.double())  # type: ignore[no-untyped-call]
        _compare(
            (values.sum(), *gradients),
            (value.detach(), exact.grad, None if exact_table is None else exact_table.grad),
        )
    _held.add(key)


def _kind(name: str, student: Tensor, teacher: Tensor) -> tuple[object, ...]:
    """What Triton compiles code of its own for."""
    logits = [(tensor.dtype, _by_pixel(tensor), tensor.shape[3] % 16 == 0) for tensor in (student, teacher)]
    return name, student.device, student.shape[1], *logits


def _by_pixel(logits: Tensor) -> bool:
    return logits.is_contiguous(memory_format=torch.channels_last)


def _logits(like: Tensor, rows: int, step: float) -> Tensor:
    """(2, C, rows, 16), or 13 where the width is no multiple of 16, in the type and layout of `like`."""
    shape = (2, max(like.shape[1], 2), rows, 16 if like.shape[3] % 16 == 0 else 13)
    layout = torch.channels_last if _by_pixel(like) else torch.contiguous_format
    return _waves(shape, like, step).to(like.dtype).contiguous(memory_format=layout)


def _waves(shape: tuple[int, ...], like: Tensor, step: float) -> Tensor:
    """Numbers in [-3, 3] that do not repeat."""
    return torch.arange(prod(shape), device=like.device, dtype=torch.float32).mul_(step).sin_().mul_(3).view(shape)


def _compare(found: tuple[Tensor | None, ...], expected: tuple[Tensor | None, ...]) -> None:
    """Raise ArithmeticError where value, gradient by the logits or gradient by the table differ."""
    pairs = [(one, other) for one, other in zip(found, expected, strict=True) if one is not None and other is not None]
    errors = torch.stack([(one - other).abs().max() / other.abs().max() for one, other in pairs]).tolist()
    for (one, _), error, what in zip(
        pairs, errors, ("value", "gradient by the logits", "gradient by the table"), strict=False
    ):
        if not error <= TOLERANCE[one.dtype]:
            raise ArithmeticError(
                f"its {what} is off by {error:.1e} of the largest, where rounding explains {TOLERANCE[one.dtype]:g}"
            )
