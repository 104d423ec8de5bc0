"""Attention transfer's and FitNets' formulas against loops written from the papers."""

import math

import pytest
import torch
from torch.testing import assert_close

from fakd.functional.at import attention_kd
from fakd.functional.fitnet import hint_kd


def pair(channels=(3, 3), batch=2, dtype=torch.float64):
    return [torch.randn(batch, c, 2, 3, dtype=torch.float64).to(dtype) for c in channels]


def naive_attention(student, teacher):
    total = 0.0
    for own, taught in zip(student.flatten(2).tolist(), teacher.flatten(2).tolist(), strict=True):
        maps = [[sum(channel[i] ** 2 for channel in image) for i in range(len(image[0]))] for image in (own, taught)]
        for a, b in zip(*([energy / math.hypot(*energies) for energy in energies] for energies in maps), strict=True):
            total += (a - b) ** 2
    return total / len(student)


def naive_hint(student, teacher):
    values = list(zip(student.flatten().tolist(), teacher.flatten().tolist(), strict=True))
    return sum((r - t) ** 2 for r, t in values) / len(values)


@pytest.mark.parametrize("batch", [1, 3])
def test_equal_the_naive_loops(batch):
    student, teacher = pair((3, 5), batch)
    assert_close(attention_kd(student, teacher).item(), naive_attention(student, teacher))
    student, teacher = pair(batch=batch)
    assert_close(hint_kd(student, teacher).item(), naive_hint(student, teacher))


def test_attention_ignores_scale_sign_and_order_of_channels():
    student, teacher = pair((3, 5))
    assert_close(attention_kd(-2 * student.flip(1), 9 * teacher), attention_kd(student, teacher))


def test_attention_is_at_most_two():
    """Unit maps without a common position."""
    student, teacher = torch.zeros(1, 1, 2, 3), torch.zeros(1, 1, 2, 3)
    student[..., 0, 0] = teacher[..., 1, 1] = 5
    assert_close(attention_kd(student, teacher).item(), 2.0)


def test_attention_of_features_that_are_all_zero_is_finite():
    student = torch.zeros(2, 3, 2, 3, requires_grad=True)
    attention_kd(student, torch.rand(2, 3, 2, 3)).backward()
    assert not student.grad.any()
