"""Channel-wise divergences in blocks of maps that stay in cache."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

CPU_BLOCK = 2**18
"""Elements of a block on a CPU: buffers of 1 MiB, allocated once; fresh memory is slow, so are many small blocks."""
DEVICE_BLOCK = 2**24
"""Elsewhere a block only bounds the memory: the fewer launches, the faster."""


class Maps(NamedTuple):
    """What a channel-wise divergence looks at: the scores of student and teacher, and the student's variances."""

    student: Tensor
    """(B, C, h, w) raw scores z, of any floating type and layout."""
    teacher: Tensor
    """(B, C, h, w) raw scores q."""
    temperature: float
    labels: Tensor | None = None
    """(B, M) int64, the column of `table` that counts at every position; None for the plain divergence."""
    table: Tensor | None = None
    """(C, columns) variances v_ic = table[c, labels_i]; None for the plain divergence."""

    @property
    def dtype(self) -> torch.dtype:
        """The type of the computation: float64 where the logits are, float32 otherwise."""
        return torch.promote_types(torch.promote_types(self.student.dtype, self.teacher.dtype), torch.float32)


@dataclass
class Block:
    """Some maps of one image in bits, and buffers (maps, M) that the next block uses again."""

    index: tuple[int, slice]
    """The image and the classes."""
    student: Tensor
    teacher: Tensor
    labels: Tensor | None
    table: Tensor | None
    bits: float
    """log2(e) / tau"""
    buffers: list[Tensor]

    def at_labels(self, table: Tensor, out: Tensor) -> Tensor:
        """`table` of every map at the label of every position."""
        assert self.labels is not None
        return torch.gather(table, 1, self.labels.expand_as(out), out=out)

    def student_scores(self) -> tuple[Tensor, Tensor]:
        """s = z / tau + v, and v; in the plain divergence less the largest of each map, and a single 0."""
        scores, variances = self.buffers[:2]
        if self.table is None:
            return self._add(-self._largest(self.student), self.student, out=scores), scores.new_zeros(1, 1)
        v = self.at_labels(self.table, out=variances)
        return self._add(v, self.student, out=scores), v

    def teacher_scores(self) -> Tensor:
        """q / tau, less the largest of each map."""
        return self._add(-self._largest(self.teacher), self.teacher, out=self.buffers[2])

    def teacher_shares(self, total: Tensor) -> Tensor:
        """p, of which `total` is the normaliser."""
        return self.teacher_scores().exp2_().div_(total)

    def _largest(self, logits: Tensor) -> Tensor:
        """(maps, 1) the largest of logits / tau."""
        return logits.amax((1, 2)).to(self.buffers[0].dtype).unsqueeze(1) * self.bits

    def _add(self, offset: Tensor, logits: Tensor, out: Tensor) -> Tensor:
        """offset + logits / tau in the type of the offset, also where the logits are in half precision."""
        return torch.add(offset, logits.flatten(1), alpha=self.bits, out=out)


def visit_blocks(visit: Callable[[Block], None], maps: Maps, spare: int) -> None:
    """Call `visit` with all maps, in blocks of about equal size.

    Args:
        visit: called with each block. What it is given is overwritten by the next.
        maps: the maps.
        spare: how many buffers a block has beyond its first three, which its methods fill.
    """
    classes, positions = maps.student.shape[1], maps.student[0, 0].numel()
    most = max((CPU_BLOCK if maps.student.device.type == "cpu" else DEVICE_BLOCK) // positions, 1)
    size = -(-classes // -(-classes // most))
    buffers = [maps.student.new_empty(size, positions, dtype=maps.dtype) for _ in range(3 + spare)]
    for first in range(0, classes, size):
        for image in range(len(maps.student)):
            visit(_block(maps, image, slice(first, min(first + size, classes)), buffers))


def _block(maps: Maps, image: int, rows: slice, buffers: list[Tensor]) -> Block:
    return Block(
        index=(image, rows),
        student=maps.student[image, rows],
        teacher=maps.teacher[image, rows],
        labels=None if maps.labels is None else maps.labels[image],
        table=None if maps.table is None else maps.table[rows] / math.log(2),
        bits=1 / (maps.temperature * math.log(2)),
        buffers=[buffer[: rows.stop - rows.start] for buffer in buffers],
    )


def new_rows(maps: Maps) -> Tensor:
    """An empty (B, C, 1) tensor for a number of every map."""
    return maps.student.new_empty((*maps.student.shape[:2], 1), dtype=maps.dtype)


class Gradients:
    """Gradients of student and table, filled block by block; None where not wanted."""

    def __init__(self, maps: Maps, scale: Tensor, *, of_student: bool, of_table: bool):
        self.scale = scale
        self.scale_of_student = scale / maps.temperature
        self.student = torch.empty_like(maps.student) if of_student else None
        self.table = torch.zeros_like(maps.table) if of_table and maps.table is not None else None

    def put_scores(self, block: Block, of_scores: Tensor) -> None:
        """Take the gradient (maps, M) of z / tau."""
        if self.student is not None:
            out = self.student[block.index]
            torch.mul(of_scores.view(out.shape), self.scale_of_student, out=out)

    def add_variances(self, block: Block, of_variances: Tensor) -> None:
        """Take the gradient (maps, M) of v."""
        if self.table is not None and block.labels is not None:
            self.table[block.index[1]].index_add_(1, block.labels, of_variances)

    def both(self) -> tuple[Tensor | None, Tensor | None]:
        """The gradients of student and table, when all blocks have been put."""
        return self.student, None if self.table is None else self.table.mul_(self.scale)


class Totals(NamedTuple):
    """The normalisers of every map: what `divergences` knows and its gradients want."""

    largest: Tensor
    """(B, C, 1) the student's largest score."""
    student: Tensor
    """(B, C, 1) the sum of exp2 over the student's scores less the largest."""
    teacher: Tensor
    """(B, C, 1) the sum of exp2 over the teacher's scores less their largest."""


def divergences(maps: Maps) -> tuple[Tensor, Totals]:
    """logsumexp_k(z_k/tau + v_k) - sum_i p_i (z_i/tau - v_i) - H(p) of every map: KL(p || softmax(z/tau)) if v = 0.

    Returns:
        (B, C, 1) in nats, and the normalisers for `divergence_gradients`.
    """
    rows, totals = new_rows(maps), Totals(new_rows(maps), new_rows(maps), new_rows(maps))

    def visit(block: Block) -> None:
        (scores, v), log_p, spare = block.student_scores(), block.teacher_scores(), block.buffers[3]
        largest = totals.largest[block.index] = scores.amax(1, keepdim=True)
        total = totals.student[block.index] = torch.exp2(scores.sub_(largest), out=spare).sum(1, keepdim=True)
        p = torch.exp2(log_p, out=spare)
        total_teacher = totals.teacher[block.index] = p.sum(1, keepdim=True)
        terms = log_p.sub_(scores).add_(v, alpha=2)
        expected = torch.linalg.vecdot(p, terms).unsqueeze(1) / total_teacher
        rows[block.index] = expected + total.log2() - total_teacher.log2()

    visit_blocks(visit, maps, spare=1)
    return rows.mul_(math.log(2)), totals


def divergence_gradients(
    maps: Maps, totals: Totals, scale: Tensor, *, of_student: bool, of_table: bool
) -> tuple[Tensor | None, Tensor | None]:
    """Gradients of `scale` times the sum of `divergences`: pi - p of the scores and pi + p of the variances.

    Args:
        maps: as given to `divergences`.
        totals: as returned by `divergences`.
        scale: a scalar tensor.
        of_student: whether that of the student's scores is wanted.
        of_table: whether that of the table is wanted.

    Returns:
        Those of student and table, None where not wanted.
    """
    gradients = Gradients(maps, scale, of_student=of_student, of_table=of_table)

    def visit(block: Block) -> None:
        scores, _ = block.student_scores()
        pi = scores.sub_(totals.largest[block.index]).exp2_().div_(totals.student[block.index])
        p = block.teacher_shares(totals.teacher[block.index])
        gradients.put_scores(block, torch.sub(pi, p, out=block.buffers[3]))
        gradients.add_variances(block, pi.add_(p))

    visit_blocks(visit, maps, spare=1)
    return gradients.both()
