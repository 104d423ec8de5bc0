import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.testing import assert_close

from fakd.functional import logmatmulexp as module
from fakd.functional.logmatmulexp import logmatmulexp

from . import naive


def random(span, dtype=torch.float64, pixels=5, rows=3, terms=4, seed=0):
    """Scores of a few tens and exponents of which one row spans exactly `span`."""
    generator = torch.Generator().manual_seed(seed)
    scores = 20 * torch.randn(pixels, terms, generator=generator, dtype=torch.float64)
    exponents = torch.rand(rows, terms, generator=generator, dtype=torch.float64)
    exponents[0] = torch.linspace(0, span, terms)
    return scores.to(dtype), exponents.to(dtype)


def took_the_product(scores, exponents):
    return logmatmulexp(scores.clone().requires_grad_(), exponents).grad_fn.by_product


@pytest.mark.parametrize("span", [0.0, 1.0, 59.0, 61.0, 599.0, 601.0, 1e5])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
def test_equals_the_naive_sums_on_both_branches(span, dtype):
    scores, exponents = random(span, dtype)
    assert took_the_product(scores, exponents) == (span <= (60 if dtype == torch.float32 else 600))
    expected = torch.from_numpy(naive.logmatmulexp(scores.double().numpy(), exponents.double().numpy()))
    found = logmatmulexp(scores, exponents)
    assert found.dtype == dtype
    assert_close(
        found.double(),
        expected,
        rtol=2e-6 if dtype == torch.float32 else 1e-13,
        atol=1e-5 if dtype == torch.float32 else 1e-12,
    )


@pytest.mark.parametrize("span", [5.0, 1000.0])
def test_gradients_on_both_branches(span):
    scores, exponents = random(span)
    assert took_the_product(scores, exponents) == (span == 5.0)
    torch.autograd.gradcheck(logmatmulexp, (scores.requires_grad_(), exponents.requires_grad_()))


@pytest.mark.parametrize("span", [5.0, 59.0, 61.0])
def test_branches_agree(monkeypatch, span):
    scores, exponents = (tensor.requires_grad_() for tensor in random(span, torch.float32))
    grad = torch.randn(5, 3)
    results = []
    for limit in (1e9, -1.0):  # always, never
        monkeypatch.setitem(module._SAFE_RANGE, torch.float32, limit)
        assert took_the_product(scores, exponents) == (limit > 0)
        out = logmatmulexp(scores, exponents)
        results.append((out, *torch.autograd.grad(out, (scores, exponents), grad)))
    assert_close(results[0], results[1], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("span", [59.0, 61.0])
def test_smallest_shifted_sum_survives(span):
    """The term whose exponent is lowest meets the highest score: the product's worst case."""
    scores = torch.tensor([[0.0, -1e4]], requires_grad=True)
    exponents = torch.tensor([[-span, 0.0]], requires_grad=True)
    out = logmatmulexp(scores, exponents)
    assert_close(out.item(), -span)
    out.backward()
    assert_close(scores.grad, torch.tensor([[1.0, 0.0]]))
    assert_close(exponents.grad, torch.tensor([[1.0, 0.0]]))


@given(
    seed=st.integers(0, 2**32), scale=st.sampled_from([1.0, 1e2, 500.0]), span=st.sampled_from([1.0, 59.0, 61.0, 1e4])
)
@settings(max_examples=40, deadline=None)
def test_weights_of_a_sum_are_shares(seed, scale, span):
    """Each output's gradients sum to 1 over its terms, whatever the size of the numbers."""
    scores, exponents = random(span, torch.float32, seed=seed)
    scores = (scores * scale).requires_grad_()
    out = logmatmulexp(scores, exponents.requires_grad_())
    of_scores, of_exponents = torch.autograd.grad(out.sum(), (scores, exponents))
    assert out.isfinite().all()
    # scores of 10^4 are rounded at 10^-3, and so are the shares
    assert_close(of_scores.sum(1), torch.full((5,), 3.0), rtol=5e-3, atol=0)
    assert_close(of_exponents.sum(1), torch.full((3,), 5.0), rtol=5e-3, atol=0)


def test_gradient_of_one_argument_alone():
    scores, exponents = random(5.0)
    (grad,) = torch.autograd.grad(logmatmulexp(scores.requires_grad_(), exponents).sum(), scores)
    assert_close(grad.sum(1), torch.full((5,), 3.0, dtype=torch.float64))
    (grad,) = torch.autograd.grad(logmatmulexp(scores.detach(), exponents.requires_grad_()).sum(), exponents)
    assert_close(grad.sum(1), torch.full((3,), 5.0, dtype=torch.float64))
