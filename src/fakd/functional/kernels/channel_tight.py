"""The tight channel-wise divergence in blocks of maps.

With the shares pi = softmax(z/tau + v) over positions, w = 1 - exp(-2 v) and the teacher's p, a map's divergence is

    sum_i p_i { 2 v_i - log pi_i + log(1 - pi_i w_i) + log p_i }

where log(1 - pi_i w_i) loses all digits if pi_i rounds to 1. Only the largest score of a map, at m, can have a share
above a half, so scores are taken less that of m. Its term is then softplus(2 v_m + others), of the logsumexp of all
others. As in `channel_blocks`, blocks are in bits.
"""

import math
from typing import NamedTuple

import torch
from torch import Tensor

from fakd.functional.kernels.channel_blocks import Block, Gradients, Maps, new_rows, visit_blocks


class Peaks(NamedTuple):
    """Where every map is largest, and its normalisers: what `tight_divergences` knows and its gradients want."""

    position: Tensor
    """(B, C, 1) int64."""
    others: Tensor
    """(B, C, 1) log2 of the sum of exp2 over all others, less the largest; the lowest number if there are none."""
    teacher: Tensor
    """(B, C, 1) the sum of exp2 over the teacher's scores less their largest."""


def tight_divergences(maps: Maps) -> tuple[Tensor, Peaks]:
    """The formula of this module.

    Returns:
        (B, C, 1) in nats, and what `tight_divergence_gradients` wants to know.
    """
    rows = new_rows(maps)
    peaks = Peaks(torch.empty_like(rows, dtype=torch.int64), new_rows(maps), new_rows(maps))
    shrinkage = _shrinkage(maps)

    def visit(block: Block) -> None:
        (scores, v), (w, spare) = block.student_scores(), block.buffers[3:]
        peak, at = _peak(scores, width=maps.student.shape[3])
        others, shares = _log_sum(scores.sub_(peak).scatter_(1, at, -torch.inf), out=spare)
        log_total = torch.logaddexp2(others, torch.zeros_like(others))
        shares.mul_(torch.exp2(others - log_total))
        kept = torch.sub(1, block.at_labels(shrinkage[block.index[1]], out=w).mul_(shares), out=w)
        terms = kept.log2_().sub_(scores).add_(v, alpha=2)
        rise = 2 * v.gather(1, at) + others
        terms.scatter_(1, at, torch.logaddexp2(rise, torch.zeros_like(rise)) - log_total)
        log_p = block.teacher_scores()
        p = torch.exp2(log_p, out=spare)
        total = p.sum(1, keepdim=True)
        expected = torch.linalg.vecdot(p, terms.add_(log_p)).unsqueeze(1) / total
        rows[block.index] = expected - total.log2() + log_total
        peaks.position[block.index], peaks.others[block.index], peaks.teacher[block.index] = at, others, total

    visit_blocks(visit, maps, spare=2)
    return rows.mul_(math.log(2)), peaks


def tight_divergence_gradients(
    maps: Maps, peaks: Peaks, scale: Tensor, *, of_student: bool, of_table: bool
) -> tuple[Tensor | None, Tensor | None]:
    """Gradients of `scale` times the sum of `tight_divergences`.

    With x_i = p_i / (1 - pi_i w_i) and X its sum, pi_i X - x_i of the scores, and 2 x_i (1 - pi_i) more of the
    variances. At the peak, x_m (1 - pi_m) is p_m sigmoid(2 v_m + others).

    Args:
        maps: as given to `tight_divergences`.
        peaks: as returned by `tight_divergences`.
        scale: a scalar tensor in the type of the computation.
        of_student: whether that of the student's scores is wanted.
        of_table: whether that of the table is wanted.

    Returns:
        Those of student and table, None where not wanted.
    """
    gradients = Gradients(maps, scale, of_student=of_student, of_table=of_table)
    shrinkage = _shrinkage(maps)

    def visit(block: Block) -> None:
        (scores, v), (spare, w) = block.student_scores(), block.buffers[3:]
        at, others = peaks.position[block.index], peaks.others[block.index]
        scores.sub_(scores.gather(1, at))
        rest = _sigmoid(others)  # 1 - pi_m
        shares = scores.sub_(others).exp2_().scatter_(1, at, 0)  # pi_i / (1 - pi_m) of all others
        p = block.teacher_shares(peaks.teacher[block.index])
        x_peak = p.gather(1, at) * _sigmoid(2 * v.gather(1, at) + others)  # x_m (1 - pi_m)
        pi = torch.mul(shares, rest, out=spare)
        kept = torch.sub(1, block.at_labels(shrinkage[block.index[1]], out=w).mul_(pi), out=w)
        x = p.div_(kept).scatter_(1, at, 0)
        x_others = x.sum(1, keepdim=True)
        of_scores = torch.mul(shares, x_others * rest + x_peak, out=w).sub_(x)
        of_scores.scatter_(1, at, _sigmoid(-others) * x_others - x_peak)
        gradients.put_scores(block, of_scores)
        x_rest = torch.addcmul(x, pi, x, value=-1, out=spare).scatter_(1, at, x_peak)  # x (1 - pi)
        gradients.add_variances(block, of_scores.add_(x_rest, alpha=2))

    visit_blocks(visit, maps, spare=2)
    return gradients.both()


def _shrinkage(maps: Maps) -> Tensor:
    """(C, columns) w = 1 - exp(-2 v)."""
    assert maps.table is not None
    return -torch.expm1(-2 * maps.table)


def _peak(scores: Tensor, width: int) -> tuple[Tensor, Tensor]:
    """(maps, 1) the largest score and its position: first its line, since max with positions is slow."""
    lines = scores.view(len(scores), -1, width)
    line = lines.amax(2).argmax(1)[:, None, None]
    peak, column = lines.take_along_dim(line, 1).max(2)
    return peak, line.squeeze(2) * width + column


def _log_sum(scores: Tensor, out: Tensor) -> tuple[Tensor, Tensor]:
    """(maps, 1) log2 of the sum of exp2(scores) and each score's share of it, without overflow.

    If all scores are -inf, the lowest number, with which one still can compute, and shares of 0.
    """
    lowest = torch.finfo(scores.dtype).min
    largest = scores.amax(1, keepdim=True).clamp_min_(lowest)
    terms = torch.sub(scores, largest, out=out).exp2_()
    total = terms.sum(1, keepdim=True)
    return total.log2().add_(largest).clamp_min_(lowest), terms.div_(total.clamp_min_(1))


def _sigmoid(bits: Tensor) -> Tensor:
    """1 / (1 + 2^-bits)."""
    return torch.sigmoid(bits * math.log(2))
