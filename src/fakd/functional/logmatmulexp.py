"""The matrix product of exponentials, in the log domain."""

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from fakd.functional.inputs import no_autocast

# A row of exponents that spans no more than this many nats keeps the largest term of every sum a normal number.
_SAFE_RANGE = {torch.float32: 60.0, torch.float64: 600.0}


def logmatmulexp(scores: Tensor, exponents: Tensor) -> Tensor:
    """out[n, c] = logsumexp_k( scores[n, k] + exponents[c, k] ), for any finite input.

    Args:
        scores: (N, K).
        exponents: (C, K).

    Returns:
        (N, C).

    One matrix product of exponentials shifted by their rows' maxima, unless a row of `exponents` spans so
    much that the shifted sum might underflow: then class by class, slower by a factor C. Memory O(N (C + K)) in
    both passes: the backward pass recomputes.
    """
    return _LogMatmulExp.apply(scores, exponents)  # type: ignore[no-any-return]


class _LogMatmulExp(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, scores: Tensor, exponents: Tensor) -> Tensor:
        span = exponents.amax(1) - exponents.amin(1)
        ctx.by_product = bool(span.max() <= _SAFE_RANGE[exponents.dtype])
        if ctx.by_product:
            sums, _, _, shift = _shifted_product(scores, exponents)
            out = sums.log_().add_(shift)
        else:
            out = torch.stack([(scores + row).logsumexp(1) for row in exponents], dim=1)
        ctx.save_for_backward(scores, exponents)
        return out

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, Tensor]:
        scores, exponents = ctx.saved_tensors
        with no_autocast(grad):
            if ctx.by_product:
                sums, factors, tables, _ = _shifted_product(scores, exponents)
                weights = grad / sums
                return factors * (weights @ tables), tables * (weights.T @ factors)
            grad_scores, grad_exponents = torch.zeros_like(scores), torch.zeros_like(exponents)
            for c, row in enumerate(exponents):
                terms = (scores + row).softmax(1).mul_(grad[:, c : c + 1])
                grad_scores += terms
                grad_exponents[c] = terms.sum(0)
            return grad_scores, grad_exponents


def _shifted_product(scores: Tensor, exponents: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Sums of exponentials (N, C), their two factors (N, K) and (C, K), and the shift (N, C) taken out of them."""
    score_shift, table_shift = scores.amax(1, keepdim=True), exponents.amax(1, keepdim=True)
    factors, tables = (scores - score_shift).exp_(), (exponents - table_shift).exp_()
    return factors @ tables.T, factors, tables, score_shift + table_shift.T
