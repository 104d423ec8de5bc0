"""The divergence between class distributions, and its gradients, for one tile of pixels at a time."""

from collections.abc import Iterator
from math import ceil

import torch
from torch import Tensor

Window = tuple[slice, slice, slice]

# Nats that a row of a table may span in a product of exponentials: its smallest sums stay normal numbers.
_SPAN = {torch.float32: 80.0, torch.float64: 600.0}
# Nats that a pixel's scores may span before entries cut at `_SPAN` could be seen in its sums: the cut adds at most
# C exp(spread - span) of a sum, which is below its rounding.
_SPREAD = {torch.float32: 55.0, torch.float64: 550.0}
_BUFFERS = 5
# Elements of a tile: on the CPU its buffers stay in a core's cache, elsewhere a kernel must outweigh its launch.
_ELEMENTS_CPU, _ELEMENTS = 1 << 18, 1 << 22


class Table:
    """Exponents (n, C, K) as the factor of a matrix product.

    Entries more than `_SPAN` below their row's maximum are raised to that, so that no sum underflows. On the CPU
    `wide` tells whether there are any; elsewhere asking would make the host wait, and it is False.
    """

    def __init__(self, exponents: Tensor) -> None:
        self.exponents = exponents
        self.shift = exponents.amax(2, keepdim=True)
        shifted = exponents - self.shift
        span = _SPAN[exponents.dtype]
        self.wide = exponents.device.type == "cpu" and bool((shifted < -span).any())
        self.factors = shifted.clamp_min_(-span).exp_()


class Layout:
    """How (B, C, M) maps are cut into tiles.

    Args:
        student: scores of any type and strides.
        teacher: likewise.

    Attributes:
        dtype: the type of the computation.
        capacity: the most pixels of a tile.
    """

    def __init__(self, student: Tensor, teacher: Tensor) -> None:
        self.shape, self.like = student.shape, student
        self.dtype = torch.promote_types(torch.promote_types(student.dtype, teacher.dtype), torch.float32)
        batch, classes, positions = student.shape
        limit = _ELEMENTS_CPU if student.device.type == "cpu" else _ELEMENTS
        # a quarter of the whole at most, so that the buffers together are of its size
        self.capacity = max(1, min(limit, student.numel() // 4) // classes)
        self.pixels = ceil(positions / ceil(positions / self.capacity))  # tiles of one size
        self.images = max(1, min(self.capacity // positions, batch))

    def windows(self) -> Iterator[Window]:
        """Where the tiles lie."""
        batch, classes, positions = self.shape
        for image in range(0, batch, self.images):
            for start in range(0, positions, self.pixels):
                yield slice(image, image + self.images), slice(0, classes), slice(start, start + self.pixels)

    def zero(self) -> Tensor:
        """Room for a sum."""
        return self.like.new_zeros((), dtype=self.dtype)


class Workspace:
    """Buffers, used again for every tile: the first touch of fresh ones takes longer than the arithmetic."""

    def __init__(self, layout: Layout, temperature: float) -> None:
        size = layout.capacity * layout.shape[1]
        self.inverse_temperature = 1 / temperature
        self._buffers = [layout.like.new_empty(size, dtype=layout.dtype) for _ in range(_BUFFERS)]

    def divergence(
        self,
        student: Tensor,
        teacher: Tensor,
        table: Table | None = None,
        *,
        descent: Tensor | None = None,
        by_table: bool = False,
        counted: Tensor | None = None,
    ) -> tuple[Tensor, Tensor | None]:
        """For (n, C, t) logits z and q: sum_c p_c (logsumexp_k(z_k / tau + T[c, k]) - z_c / tau + log p_c).

        Args:
            student: z.
            teacher: q, p is the softmax of q / tau.
            table: T, one for all images or for each; None is 0.
            descent: (n, C, t), receives less the gradient of the sum by z / tau.
            by_table: return the gradient by the table too.
            counted: (n, t), the pixels that add to the value and to that gradient; None is all of them.

        Returns:
            (n, t), one number for each pixel, and (n, C, C) or None, the gradient of their sum by T.
        """
        size = student.numel()
        factors, difference, p, sums, scratch = (buffer[:size].view(student.shape) for buffer in self._buffers)
        self._scores(student, factors)
        self._scores(teacher, difference)
        torch.exp(difference, out=p)
        normaliser = p.sum(1, keepdim=True)
        p.div_(normaliser)
        difference.sub_(factors).sub_(normaliser.log_())
        if table is None:
            factors.exp_()
            plain = factors.sum(1, keepdim=True)
            if descent is not None:
                torch.sub(p, factors.div_(plain), out=descent)
            return difference.add_(plain.log_()).mul_(p).sum(1), None
        if table.wide and float(factors.amin()) < -_SPREAD[factors.dtype]:
            return _class_by_class(factors, p, difference, table, (sums, scratch), descent)
        factors.exp_()
        torch.bmm(table.factors.expand(len(student), -1, -1), factors, out=sums)
        torch.log(sums, out=scratch)
        divergences = difference.add_(scratch).add_(table.shift).mul_(p).sum(1)
        if counted is not None:
            divergences.mul_(counted)
        shares = torch.div(p, sums, out=scratch)
        if descent is not None:
            torch.bmm(table.factors.mT.expand(len(student), -1, -1), shares, out=sums)
            torch.addcmul(p, factors, sums, value=-1, out=descent)
        if not by_table:
            return divergences, None
        if counted is not None:
            shares.mul_(counted.unsqueeze(1))
        return divergences, torch.bmm(shares, factors.mT).mul_(table.factors)

    def _scores(self, logits: Tensor, out: Tensor) -> None:
        """The logits less their pixel's maximum, over tau, in the buffer's type."""
        out.copy_(logits)
        out.sub_(out.amax(1, keepdim=True))
        if self.inverse_temperature != 1:
            out.mul_(self.inverse_temperature)


def _class_by_class(
    scores: Tensor, p: Tensor, difference: Tensor, table: Table, buffers: tuple[Tensor, Tensor], descent: Tensor | None
) -> tuple[Tensor, Tensor]:
    """The same where a product could underflow: every logarithm has its own shift; slower by a factor C.

    It is for the CPU alone, where every pixel of a tile counts.
    """
    terms, mixture = buffers
    mixture.zero_()
    by_table = torch.empty_like(table.factors.expand(len(scores), -1, -1))
    for c in range(scores.shape[1]):
        torch.add(scores, table.exponents[:, c].unsqueeze(2), out=terms)
        peak = terms.amax(1)
        terms.sub_(peak.unsqueeze(1)).exp_()
        total = terms.sum(1)
        difference[:, c].add_(peak).add_(total.log())
        mixture.add_(terms.mul_((p[:, c] / total).unsqueeze(1)))
        by_table[:, c] = terms.sum(2)
    if descent is not None:
        torch.sub(p, mixture, out=descent)
    return difference.mul_(p).sum(1), by_table
