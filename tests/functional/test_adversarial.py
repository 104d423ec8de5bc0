"""The adversarial losses against the papers' sums."""

import math

import pytest
import torch

from fakd.functional.adversarial import (
    adversarial_loss,
    gradient_penalty,
    hinge_critic_loss,
    wasserstein_critic_loss,
)

LOSSES = {
    wasserstein_critic_loss: lambda s, t: sum(s) / len(s) - sum(t) / len(t),
    hinge_critic_loss: lambda s, t: sum(max(0.0, 1 + r) for r in s) / len(s) + sum(max(0.0, 1 - r) for r in t) / len(t),
    adversarial_loss: lambda s, t: sum(t) / len(t) - sum(s) / len(s),
}
every_loss = pytest.mark.parametrize("loss", LOSSES, ids=lambda loss: loss.__name__)


@pytest.fixture
def ratings():
    generator = torch.Generator().manual_seed(0)
    return tuple(2 * torch.randn(7, generator=generator, dtype=torch.float64) for _ in range(2))


@every_loss
@pytest.mark.parametrize("count", [1, 7])
def test_equals_the_papers_sums(loss, ratings, count):
    student, teacher = (values[:count] for values in ratings)
    assert loss(student, teacher).item() == pytest.approx(LOSSES[loss](student.tolist(), teacher.tolist()), rel=1e-12)


@every_loss
def test_which_way_the_student_is_pulled(loss, ratings):
    student, teacher = ratings
    student.requires_grad_()
    (gradient,) = torch.autograd.grad(loss(student, teacher), student)
    assert (gradient <= 0).all() if loss is adversarial_loss else (gradient >= 0).all()
    assert gradient.any()


def test_whose_gradient_reaches_the_teachers_ratings(ratings):
    student, teacher = (values.requires_grad_() for values in ratings)
    for loss in (wasserstein_critic_loss, hinge_critic_loss):
        (gradient,) = torch.autograd.grad(loss(student, teacher), teacher)
        assert (gradient <= 0).all()
        assert gradient.any()
    (gradient,) = torch.autograd.grad(
        adversarial_loss(student, teacher), teacher, materialize_grads=True, allow_unused=True
    )
    assert not gradient.any()


def test_what_hinge_is_where_nothing_and_all_is_told_apart():
    assert hinge_critic_loss(torch.zeros(3), torch.zeros(3)).item() == 2
    assert hinge_critic_loss(torch.full((3,), -1.5), torch.full((3,), 1.0)).item() == 0


@every_loss
def test_ratings_must_be_one_number_each(loss):
    for student, teacher in [((3,), (2,)), ((3, 1), (3, 1)), ((0,), (0,)), ((), ())]:
        with pytest.raises(ValueError, match="one number for each image"):
            loss(torch.zeros(student), torch.zeros(teacher))


# the penalty


def maps(batch=3):
    generator = torch.Generator().manual_seed(1)
    student, teacher = (torch.randn(batch, 2, 2, 3, generator=generator, dtype=torch.float64) for _ in range(2))
    return student, teacher, torch.rand(batch, generator=generator, dtype=torch.float64)


@pytest.mark.parametrize("batch", [1, 3])
def test_penalty_equals_the_papers_sum(batch):
    """A critic whose gradient is written by hand: D(x) = sum_k w_k x_k^3, dD/dx_k = 3 w_k x_k^2."""
    student, teacher, shares = maps(batch)
    weight = torch.randn(2, 2, 3, dtype=torch.float64)
    expected = 0.0
    for b in range(batch):
        squares = 0.0
        for w, s, t in zip(weight.flatten(), student[b].flatten(), teacher[b].flatten(), strict=True):
            x = shares[b].item() * t.item() + (1 - shares[b].item()) * s.item()
            squares += (3 * w.item() * x**2) ** 2
        expected += (math.sqrt(squares) - 1) ** 2 / batch
    found = gradient_penalty(lambda x: (weight * x**3).sum((1, 2, 3)), student, teacher, shares)
    assert found.item() == pytest.approx(expected, rel=1e-12)


def test_penalty_has_the_gradient_of_its_value():
    student, teacher, shares = maps()
    weight = torch.randn(2, 2, 3, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(
        lambda w: gradient_penalty(lambda x: (w * x**3).sum((1, 2, 3)), student, teacher, shares), [weight]
    )


def test_penalty_works_without_gradient_mode_and_reaches_no_map():
    student, teacher, shares = maps()
    student.requires_grad_()
    weight = torch.ones(2, 2, 3, dtype=torch.float64, requires_grad=True)
    with torch.no_grad():
        value = gradient_penalty(lambda x: (weight * x**3).sum((1, 2, 3)), student, teacher, shares)
    value.backward()
    assert weight.grad.any()
    assert student.grad is None


def test_penalty_of_a_flat_critic_is_1_with_a_finite_gradient():
    student, teacher, shares = maps()
    weight = torch.zeros((), dtype=torch.float64, requires_grad=True)
    value = gradient_penalty(lambda x: weight * x.sum((1, 2, 3)), student, teacher, shares)
    value.backward()
    assert value.item() == 1
    assert weight.grad.isfinite()


def test_penalty_needs_shapes_that_fit():
    student, teacher, shares = maps()
    with pytest.raises(ValueError, match=r"got \(3, 2, 2, 3\), \(2, 2, 2, 3\) and \(3,\)"):
        gradient_penalty(lambda x: x.sum(), student, teacher[:2], shares)
    with pytest.raises(ValueError, match=r"and \(2,\)"):
        gradient_penalty(lambda x: x.sum(), student, teacher, shares[:2])
