"""Losses and covariance with several of PyTorch's threads: the same numbers, and the same bits call after call."""

from dataclasses import replace

import pytest
import torch
from torch.testing import assert_close

from fakd import ClassCovariance

from .losses import LOSSES, every


@pytest.fixture
def three_threads():
    before = torch.get_num_threads()
    torch.set_num_threads(3)
    yield
    torch.set_num_threads(before)


@every(LOSSES)
def test_losses_in_threads(loss, three_threads):
    inputs = loss.inputs(batch=2, classes=40, size=(33, 31)).requiring_grad(*loss.differentiable)
    tensors = [getattr(inputs, name) for name in loss.differentiable]
    found = torch.autograd.grad(loss(inputs), tensors)
    again = torch.autograd.grad(loss(inputs), tensors)
    assert_close(again, found, rtol=0, atol=0)  # in a fixed order, whichever thread does what
    torch.set_num_threads(1)
    assert_close(torch.autograd.grad(loss(inputs), tensors), found)


@every(LOSSES)
def test_losses_under_inference_mode(loss):
    inputs = loss.inputs(classes=5, size=(9, 7))
    with torch.inference_mode():
        inputs = replace(inputs, student=inputs.student.clone())
        assert_close(loss(inputs).item(), loss.naive(inputs), rtol=1e-9, atol=0)


def test_covariance_in_threads(three_threads):
    features, labels = torch.randn(2, 70, 25, 26, dtype=torch.float64), torch.randint(4, (2, 25, 26))
    state = ClassCovariance(4, 70).double()
    state.update(features, labels)
    rows = features.permute(0, 2, 3, 1)
    for c in range(4):
        assert_close(state.covariance[c], rows[labels == c].var(0, correction=0))
