"""What is particular to the plain losses; the common checks are in test_every_loss.py."""

import pytest
import torch
import torch.nn.functional as F
from torch.testing import assert_close

from fakd.functional import channel_kd, pixel_kd


@pytest.fixture
def pair():
    generator = torch.Generator().manual_seed(0)
    return torch.randn(2, 5, 4, 6, generator=generator), torch.randn(2, 5, 4, 6, generator=generator)


@pytest.mark.parametrize("temperature", [0.5, 1.0, 4.0])
def test_pixel_kd_is_pytorchs_divergence_over_classes(pair, temperature):
    student, teacher = ((logits.movedim(1, -1) / temperature).log_softmax(-1).flatten(0, 2) for logits in pair)
    expected = temperature**2 * F.kl_div(student, teacher, log_target=True, reduction="batchmean")
    assert_close(pixel_kd(*pair, temperature=temperature), expected)


@pytest.mark.parametrize("temperature", [0.5, 1.0, 4.0])
def test_channel_kd_is_pytorchs_divergence_over_positions(pair, temperature):
    student, teacher = ((logits.flatten(2) / temperature).log_softmax(-1).flatten(0, 1) for logits in pair)
    expected = temperature**2 * F.kl_div(student, teacher, log_target=True, reduction="batchmean")
    assert_close(channel_kd(*pair, temperature=temperature), expected)


def test_default_temperatures_are_the_papers(pair):
    assert_close(pixel_kd(*pair), pixel_kd(*pair, temperature=1.0), rtol=0, atol=0)
    assert_close(channel_kd(*pair), channel_kd(*pair, temperature=4.0), rtol=0, atol=0)


def test_a_batch_of_copies_weighs_as_one(pair):
    for loss in (pixel_kd, channel_kd):
        assert_close(loss(*(logits.repeat(3, 1, 1, 1) for logits in pair)), loss(*pair))


def test_the_divergence_is_from_the_teacher():
    """KL(teacher || student): costly where the student misses what the teacher sees, not the reverse."""
    sure = torch.tensor([20.0, -20.0]).view(1, 2, 1, 1)
    unsure = torch.zeros(1, 2, 1, 1)
    assert_close(pixel_kd(sure, unsure).item(), 20 - torch.log(torch.tensor(2.0)).item())
    assert_close(pixel_kd(unsure, sure).item(), torch.log(torch.tensor(2.0)).item())
