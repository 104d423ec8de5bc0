"""What is particular to the channel-wise loss; the common checks are in test_every_loss.py."""

import math

import pytest
import torch
from torch.testing import assert_close

from fakd.functional import augmented_channel_kd, channel_kd


def test_default_bound_and_temperature_are_the_papers():
    z, q = torch.randn(2, 1, 3, 2, 2)
    rest = (torch.zeros(1, 2, 2, dtype=torch.long), torch.randn(3, 2), torch.ones(3, 2))
    expected = augmented_channel_kd(z, q, *rest, strength=1.0, temperature=4.0, bound="paper")
    assert_close(augmented_channel_kd(z, q, *rest, strength=1.0), expected, rtol=0, atol=0)


@pytest.mark.parametrize("temperature", [1.0, 2.0])
def test_two_positions_by_hand(temperature):
    """One class, weight 1, variance 1: the teacher sees all at position 0, where the student is 3 below."""
    z, q = torch.tensor([[[[0.0, 3.0]]]]), torch.tensor([[[[200.0, -200.0]]]])
    arguments = (z, q, torch.zeros(1, 1, 2, dtype=torch.long), torch.ones(1, 1), torch.ones(1, 1))
    t = temperature
    tight = t**2 * math.log1p(math.exp(3 / t + 2 * 1 / (2 * t**2)))
    paper = t**2 * (math.log1p(math.exp(3 / t)) + 2 * 1 / (2 * t))
    assert_close(augmented_channel_kd(*arguments, strength=1.0, temperature=t, bound="tight").item(), tight)
    assert_close(augmented_channel_kd(*arguments, strength=1.0, temperature=t, bound="paper").item(), paper)


def test_below_temperature_one_the_printed_form_is_no_bound():
    """Why the documentation promises tight <= paper for temperatures from 1 on only."""
    z = torch.randn(1, 2, 3, 3, generator=torch.Generator().manual_seed(0))
    arguments = (z, z, torch.zeros(1, 3, 3, dtype=torch.long), torch.ones(2, 2), torch.ones(2, 2))
    tight, paper = (
        augmented_channel_kd(*arguments, strength=1.0, temperature=0.2, bound=bound) for bound in ("tight", "paper")
    )
    assert tight > paper


@pytest.mark.parametrize("strength", [1.0, 1e2, 1e4])
def test_a_dominant_position_leaves_its_own_term_out(strength):
    """Where one position's share rounds to 1, its own term still counts once, without variance: no -inf, no 2 v."""
    z = torch.tensor([[[[1000.0, 0.0]]]], requires_grad=True)
    arguments = (z, z.detach(), torch.zeros(1, 1, 2, dtype=torch.long), torch.ones(1, 1), torch.ones(1, 1))
    loss = augmented_channel_kd(*arguments, strength=strength, temperature=1.0, bound="tight")
    expected = max(strength - 1000, 0.0)  # log(1 + exp(2 v - 1000)), v = strength / 2
    assert_close(loss.item(), expected)
    (grad,) = torch.autograd.grad(loss, z)
    assert grad.isfinite().all()
    assert_close(grad.flatten(), torch.tensor([-1.0, 1.0]) * (strength > 1000))


def test_a_single_position_always_agrees():
    z = torch.tensor([[[[7.0]]]], requires_grad=True)
    arguments = (z, z.detach() - 9, torch.zeros(1, 1, 1, dtype=torch.long), torch.ones(1, 1), torch.ones(1, 1))
    loss = augmented_channel_kd(*arguments, strength=1.0, bound="tight")
    assert loss.item() == channel_kd(z, z.detach() - 9).item() == 0
    loss.backward()
    assert z.grad.item() == 0
