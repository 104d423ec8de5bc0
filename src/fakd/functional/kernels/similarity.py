"""How alike each pixel finds a set of others, and the divergence of two networks' answers, a chunk at a time."""

import math
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from fakd.functional.inputs import full_precision, no_autocast

# How many similarities of one network are held at once; about five tensors of this size live at the worst moment.
CHUNK = 2**22


def similarity_kd(
    student_anchors: Tensor,
    teacher_anchors: Tensor,
    student_others: Tensor,
    teacher_others: Tensor,
    *,
    temperature: float = 0.1,
    counted: Tensor | None = None,
    valid: Tensor | None = None,
    chunk: int = CHUNK,
) -> Tensor:
    """Pull which others each of the student's anchors is like toward which ones the teacher's anchor is like.

        1 / (G |N|) * sum_{n in N} sum_g KL( softmax_k(t_n . t_gk / tau) || softmax_k(s_n . s_gk / tau) )

    with one distribution over the K others of each group g, for each anchor n that counts.

    Args:
        student_anchors: (N, A) vectors s_n, usually of unit length. Gradient flows into them.
        teacher_anchors: (N, A') vectors t_n; never differentiated.
        student_others: (G, K, A) what the student's anchors are compared with. Gradient flows into them.
        teacher_others: (G, K, A') what the teacher's anchors are compared with; never differentiated.
        temperature: tau > 0, divides the dot products before the softmax.
        counted: (N,) bool, the anchors to average over; None for all.
        valid: (G, K) bool, the others that exist; None for all.
        chunk: how many of one network's N * G * K similarities are held at once, at least one anchor's.

    Returns:
        A scalar >= 0 in nats, 0 when both networks find the same similarities up to a constant per distribution,
        when no anchor counts, or when no other exists. float32 (float64 for float64 input), also under autocast.

    Raises:
        ValueError: shapes, types, temperature or chunk are not as above.

    Normaliser: the mean over anchors and groups.

    Memory: O(chunk + N A + G K A). The gradient is taken while a chunk's similarities are there, so the backward pass
    neither keeps nor recomputes any of them; it cannot itself be differentiated.

    Source: Yang et al., CVPR 2022 (CIRKD), whose similarity matrices are these rows.

    Example:
        >>> import torch
        >>> anchors, others = torch.randn(6, 4), torch.randn(2, 5, 4)
        >>> similarity_kd(anchors, anchors, others, others).item()
        0.0
    """
    sides = (("student", student_anchors, student_others), ("teacher", teacher_anchors, teacher_others))
    for side, vectors, others in sides:
        if vectors.ndim != 2 or others.ndim != 3 or vectors.shape[-1] != others.shape[-1]:
            raise ValueError(
                f"{side}_anchors must be (N, A) and {side}_others (G, K, A) with the same channels A, "
                f"got {tuple(vectors.shape)} and {tuple(others.shape)}."
            )
    anchors, (groups, size) = len(student_anchors), student_others.shape[:2]
    if min(anchors, groups, size) < 1:
        raise ValueError(f"there is nothing to compare: {anchors} anchors with {groups} groups of {size} others.")
    if valid is not None and (valid.shape != (groups, size) or valid.dtype != torch.bool):
        raise ValueError(f"valid must be a bool tensor {(groups, size)}, got {valid.dtype} {tuple(valid.shape)}.")
    if not 0 < temperature < math.inf:
        raise ValueError(f"temperature must be above 0 and finite, got {temperature}.")
    if chunk < 1:
        raise ValueError(f"chunk must be 1 or more, got {chunk}.")

    student_anchors, student_others = full_precision(student_anchors), full_precision(student_others)
    share = student_anchors.new_ones(anchors) if counted is None else counted.to(student_anchors.dtype)
    share = share / (groups * share.sum().clamp_min(1))
    with no_autocast(student_anchors):
        loss: Tensor = _SimilarityKD.apply(
            student_anchors,
            student_others,
            teacher_anchors.detach().to(student_anchors.dtype),
            teacher_others.detach().to(student_anchors.dtype),
            share,
            valid,
            temperature,
            max(1, chunk // (groups * size)),
            torch.is_grad_enabled(),
        )
    return loss


def similarity_log_softmax(anchors: Tensor, others: Tensor, temperature: float, valid: Tensor | None = None) -> Tensor:
    """The logarithm of how each anchor's likeness is shared out among the others of each group.

    Args:
        anchors: (N, A).
        others: (G, K, A).
        temperature: divides the dot products.
        valid: (G, K) bool; an invalid other gets no share, unless its whole group is invalid: then all get the same.

    Returns:
        (N, G, K), whose exponentials sum to 1 over K.
    """
    groups, size, channels = others.shape
    logits = (anchors / temperature @ others.reshape(groups * size, channels).T).view(-1, groups, size)
    if valid is not None:
        # finite, so that a group without a valid other is uniform for both networks instead of NaN
        logits.masked_fill_(~valid, torch.finfo(logits.dtype).min / 2)
    return logits.log_softmax(2)


class _SimilarityKD(torch.autograd.Function):
    """The weighted sum of divergences and its gradient, from one visit to each similarity."""

    @staticmethod
    def forward(
        ctx: Any,
        student_anchors: Tensor,
        student_others: Tensor,
        teacher_anchors: Tensor,
        teacher_others: Tensor,
        share: Tensor,
        valid: Tensor | None,
        temperature: float,
        rows: int,
        differentiate: bool,
    ) -> Tensor:
        loss = share.new_zeros(())
        to_anchors, to_others = (needed and differentiate for needed in ctx.needs_input_grad[:2])
        anchors_gradient = torch.zeros_like(student_anchors) if to_anchors else None
        others_gradient = torch.zeros_like(student_others).flatten(0, 1) if to_others else None
        for start in range(0, len(student_anchors), rows):
            part = slice(start, start + rows)
            log_q = similarity_log_softmax(teacher_anchors[part], teacher_others, temperature, valid)
            log_p = similarity_log_softmax(student_anchors[part], student_others, temperature, valid)
            q = log_q.exp()
            divergence = log_q.sub_(log_p).mul_(q).flatten(1).sum(1)
            loss += share[part] @ divergence
            if not (to_anchors or to_others):
                continue
            # d KL / d logit = p - q, and a logit is a dot product over the temperature
            gradient = log_p.exp_().sub_(q).flatten(1).mul_(share[part].unsqueeze(1) / temperature)
            if anchors_gradient is not None:
                torch.mm(gradient, student_others.flatten(0, 1), out=anchors_gradient[part])
            if others_gradient is not None:
                others_gradient.addmm_(gradient.T, student_anchors[part])
        ctx.save_for_backward(anchors_gradient, others_gradient)
        ctx.others_shape = student_others.shape
        return loss

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, upstream: Tensor) -> tuple[Tensor | None, ...]:
        anchors, others = ctx.saved_tensors
        return (
            None if anchors is None else upstream * anchors,
            None if others is None else (upstream * others).view(ctx.others_shape),
            *[None] * 7,
        )
