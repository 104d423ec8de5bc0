"""Sums over pixels of class divergences as autograd functions that hold one gradient, computed on the way forward."""

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from fakd.functional.inputs import no_autocast, pixel_classes, uncompiled
from fakd.functional.kernels.pixel_tiles import Layout, Table, Workspace
from fakd.functional.kernels.rows import ClassRuns
from fakd.functional.variance import contrast_variances_gradient, contrast_variances_of_classes

# Pixels of a tile of one class where the host does not know how many a class has: tiles are filled up to this size.
_PADDED = 256
# Numbers of the covariances that are gathered for such a tile, one for each of its rows.
_GATHERED = 2**24

PixelTile = tuple[Tensor, Tensor | None]


@uncompiled
def pixel_divergence(
    student_logits: Tensor, teacher_logits: Tensor, exponents: Tensor | None = None, *, temperature: float
) -> Tensor:
    """Sum over pixels of sum_c p_c (logsumexp_k(z_k / tau + T[c, k]) - z_c / tau + log p_c), p = softmax(q / tau).

    Args:
        student_logits: (B, C, h, w) scores z of any type and layout.
        teacher_logits: (B, C, h, w) scores q; no gradient flows into them.
        exponents: (C, C) table T, float32, or float64 where the logits are; None is 0, the plain divergence.
        temperature: tau > 0.

    Returns:
        A scalar, float32 (float64 for float64 logits). It can be differentiated once, by z and T.

    Three matrix products where T is given: sums, gradient by z, gradient by T. The gradients are made with the
    value, while a tile is in cache, so nothing is computed twice and only they are kept: in the logits' own type.
    """
    arguments = (student_logits, teacher_logits.detach(), exponents, temperature, torch.is_grad_enabled())
    return _PixelDivergence.apply(*arguments)  # type: ignore[no-any-return]


class _PixelDivergence(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, student: Tensor, teacher: Tensor, exponents: Tensor | None, temperature: float, recording: bool
    ) -> Tensor:
        of_student, of_table = (needed and recording for needed in ctx.needs_input_grad[:3:2])
        with no_autocast(student):
            z, q = student.flatten(2), teacher.flatten(2)
            layout = Layout(z, q)
            table = None if exponents is None else Table(exponents.unsqueeze(0))
            descent = torch.empty_like(z, memory_format=torch.contiguous_format) if of_student else None
            workspace, total = Workspace(layout, temperature), layout.zero()
            by_table = torch.zeros_like(exponents) if exponents is not None and of_table else None
            for window in layout.windows():
                divergences, gradient = workspace.divergence(
                    z[window],
                    q[window],
                    table,
                    descent=None if descent is None else descent[window],
                    by_table=by_table is not None,
                )
                total.add_(divergences.sum())
                if by_table is not None and gradient is not None:
                    by_table.add_(gradient.sum(0))
        ctx.slope = -1 / temperature
        ctx.save_for_backward(None if descent is None else descent.view(student.shape), by_table)
        return total

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, None, Tensor | None, None, None]:
        descent, by_table = ctx.saved_tensors
        by_student = None if descent is None else _scaled(descent, grad * ctx.slope)
        return by_student, None, None if by_table is None else grad * by_table, None, None


def _scaled(tensor: Tensor, factor: Tensor) -> Tensor:
    """The product in the tensor's type, computed in the factor's: a loss scale may not fit into half precision."""
    return torch.mul(tensor, factor.view([1] * tensor.ndim), out=torch.empty_like(tensor))


@uncompiled
def pixel_divergence_by_class(
    student_logits: Tensor,
    teacher_logits: Tensor,
    labels: Tensor,
    weight: Tensor,
    covariance: Tensor,
    *,
    scale: float,
    temperature: float,
) -> Tensor:
    """`pixel_divergence` with each pixel's table that of its class a: T = scale * D_a, 0 where it is ignored.

    Args:
        student_logits: (B, C, h, w) scores z of any type and layout.
        teacher_logits: (B, C, h, w) scores q; no gradient flows into them.
        labels: (B, h, w) integers 0..C-1 or 255.
        weight: (C, A), in the precision of the result.
        covariance: (C, A) or (C, A, A), likewise; no gradient flows into it.
        scale: of the variances.
        temperature: tau > 0.

    Returns:
        A scalar as that of `pixel_divergence`. It can be differentiated once, by z and the weight.

    Pixels are sorted by class; a tile is of one class, and its table lives no longer than the tile.
    """
    arguments = (labels, covariance.detach(), scale, temperature, torch.is_grad_enabled())
    return _PixelDivergenceByClass.apply(student_logits, teacher_logits.detach(), weight, *arguments)  # type: ignore[no-any-return]


class _PixelDivergenceByClass(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        student: Tensor,
        teacher: Tensor,
        weight: Tensor,
        labels: Tensor,
        covariance: Tensor,
        scale: float,
        temperature: float,
        recording: bool,
    ) -> Tensor:
        of_student, of_weight = (needed and recording for needed in ctx.needs_input_grad[:3:2])
        with no_autocast(student):
            z, q = student.flatten(2), teacher.flatten(2)
            layout = Layout(z, q)
            descent = torch.empty_like(z, memory_format=torch.contiguous_format) if of_student else None
            classes, positions = z.shape[1:]
            owners = pixel_classes(labels, classes).flatten()
            if labels.device.type == "cpu":
                tiles = _runs(owners, classes, layout.capacity)
            else:
                most = max(1, _GATHERED // covariance[0].numel())
                tiles = _padded_runs(owners, classes, layout.capacity, most)
            workspace, total = Workspace(layout, temperature), layout.zero()
            by_weight = torch.zeros_like(weight) if of_weight else None
            for pixels, counted in tiles:
                owner = owners[pixels[:, 0]]
                chosen = covariance[owner.clamp_max(classes - 1)]
                chosen = chosen * (owner < classes).view(-1, *[1] * (chosen.ndim - 1))
                table = Table(scale * contrast_variances_of_classes(weight, chosen))
                # pixels before classes, so transposed
                where = (pixels // positions, slice(None), pixels % positions)
                into = None if descent is None else z.new_empty(len(pixels), classes, pixels.shape[1])
                divergences, gradient = workspace.divergence(
                    z[where].mT, q[where].mT, table, descent=into, by_table=of_weight, counted=counted
                )
                total.add_(divergences.sum())
                if descent is not None and into is not None:
                    descent[where] = into.mT
                if by_weight is not None and gradient is not None:
                    by_weight.add_(contrast_variances_gradient(weight, chosen, scale * gradient))
        ctx.slope = -1 / temperature
        ctx.save_for_backward(None if descent is None else descent.view(student.shape), by_weight)
        return total

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        descent, by_weight = ctx.saved_tensors
        by_student = None if descent is None else _scaled(descent, grad * ctx.slope)
        return by_student, None, None if by_weight is None else grad * by_weight, None, None, None, None, None


def _runs(owners: Tensor, classes: int, capacity: int) -> Iterator[PixelTile]:
    """Pixels (1, t) of one class each, with its true number of them."""
    runs = ClassRuns.sort(owners, classes + 1, capacity)
    ends = [*runs.starts.tolist()[1:], len(owners)]
    for start, end in zip(runs.starts.tolist(), ends, strict=True):
        if start < end:
            yield runs.order[start:end].unsqueeze(0), None


def _padded_runs(owners: Tensor, classes: int, capacity: int, most: int) -> Iterator[PixelTile]:
    """Pixels (n, t), those of a row of one class, and which of them count. Rows are n = `most` or fewer.

    n and t do not depend on the labels: a row is filled up with its first pixel, which is so computed, and written,
    more than once, always the same.
    """
    longest = min(_PADDED, capacity)
    pixels, counted = ClassRuns.sort(owners, classes + 1, longest).tiles(longest)
    pixels = torch.where(counted, pixels, pixels[:, :1])
    rows = min(capacity // longest, most)
    for row in range(0, len(pixels), rows):
        yield pixels[row : row + rows], counted[row : row + rows]
