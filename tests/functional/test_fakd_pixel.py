"""What is particular to the pixel-wise loss; the common checks are in test_every_loss.py."""

import math

import pytest
import torch
from torch.testing import assert_close

from fakd.functional import augmented_pixel_kd

from .losses import Loss


def test_default_bound_and_temperature_are_the_papers():
    z, q = torch.randn(2, 1, 3, 2, 2)
    rest = (torch.zeros(1, 2, 2, dtype=torch.long), torch.randn(3, 2), torch.ones(3, 2))
    expected = augmented_pixel_kd(z, q, *rest, strength=1.0, temperature=1.0, bound="paper")
    assert_close(augmented_pixel_kd(z, q, *rest, strength=1.0), expected, rtol=0, atol=0)


@pytest.mark.parametrize("temperature", [1.0, 2.0])
def test_two_classes_by_hand(temperature):
    """Weights 1 and -1: D = 4 Sigma. The pixel is of class 1; the teacher says class 0."""
    z, q = torch.tensor([0.0, 3.0]).view(1, 2, 1, 1), torch.tensor([200.0, -200.0]).view(1, 2, 1, 1)
    weight, covariance = torch.tensor([[1.0], [-1.0]]), torch.tensor([[0.25], [0.5]])
    for bound, of_class in (("paper", 0), ("tight", 1)):
        variance = 4 * covariance[of_class].item()
        expected = temperature**2 * math.log1p(math.exp(3 / temperature + variance / (2 * temperature**2)))
        label = torch.ones(1, 1, 1, dtype=torch.long)
        value = augmented_pixel_kd(z, q, label, weight, covariance, strength=1.0, temperature=temperature, bound=bound)
        assert_close(value.item(), expected)


def test_forms_agree_where_the_classes_share_a_covariance():
    loss = Loss(True, "pixel", "tight", full=True)
    inputs = loss.inputs()
    shared = inputs.covariance[:1].expand(4, -1, -1)
    labels = inputs.labels.masked_fill(inputs.labels == 255, 0)
    values = [
        augmented_pixel_kd(inputs.student, inputs.teacher, labels, inputs.weight, shared, strength=1.0, bound=bound)
        for bound in ("paper", "tight")
    ]
    assert_close(*values)


def test_pixels_are_matched_to_their_own_class():
    """Grouping by class must not reorder: a batch of all pixels is the mean of the pixels one by one."""
    inputs = Loss(True, "pixel", "tight").inputs(batch=1, size=(3, 4))
    options = {"strength": 1.0, "bound": "tight"}
    one_by_one = [
        augmented_pixel_kd(
            *(tensor[..., i : i + 1, j : j + 1] for tensor in (inputs.student, inputs.teacher, inputs.labels)),
            inputs.weight,
            inputs.covariance,
            **options,
        )
        for i in range(3)
        for j in range(4)
    ]
    whole = augmented_pixel_kd(*vars(inputs).values(), **options)
    assert_close(whole, torch.stack(one_by_one).mean())
