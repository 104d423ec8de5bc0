import pytest
import torch
from torch.testing import assert_close

from fakd.functional.variance import (
    contrast_variances,
    contrast_variances_of_classes,
    logit_variances,
)

from . import naive

CLASSES, CHANNELS = 4, 3


@pytest.fixture(params=["diagonal", "full"])
def tensors(request):
    generator = torch.Generator().manual_seed(0)
    weight = torch.randn(CLASSES, CHANNELS, generator=generator, dtype=torch.float64)
    factor = torch.randn(CLASSES, CHANNELS, CHANNELS, generator=generator, dtype=torch.float64)
    covariance = factor @ factor.mT
    return weight, covariance.diagonal(dim1=1, dim2=2).contiguous() if request.param == "diagonal" else covariance


def table(entry):
    return torch.tensor([[entry(i, j) for j in range(CLASSES)] for i in range(CLASSES)], dtype=torch.float64)


def test_logit_variances(tensors):
    w, sigma = (tensor.numpy() for tensor in tensors)
    assert_close(logit_variances(*tensors), table(lambda y, c: naive.variance(w[c], sigma[y])))


def test_contrast_variances(tensors):
    w, sigma = (tensor.numpy() for tensor in tensors)
    assert_close(contrast_variances(*tensors), table(lambda c, k: naive.variance(w[k] - w[c], sigma[c])))


def test_contrast_variances_of_classes(tensors):
    w, sigma = (tensor.numpy() for tensor in tensors)
    chosen = [2, 0, 2]
    found = contrast_variances_of_classes(tensors[0], tensors[1][chosen])
    expected = [table(lambda c, k, a=a: naive.variance(w[k] - w[c], sigma[a])) for a in chosen]
    assert_close(found, torch.stack(expected))


def test_a_full_covariance_is_not_copied():
    """Nothing as large as it is made, also where a graph is kept: only vectors for each pair of classes."""
    weight, covariance = torch.randn(2, 5, requires_grad=True), torch.randn(2, 5, 5)
    saved = []
    with torch.autograd.graph.saved_tensors_hooks(lambda tensor: saved.append(tensor) or tensor, lambda tensor: tensor):
        logit_variances(weight, covariance)
    large = [tensor for tensor in saved if tensor.numel() >= covariance.numel()]
    assert large
    assert {tensor.untyped_storage().data_ptr() for tensor in large} == {covariance.untyped_storage().data_ptr()}


def test_equal_weights_have_no_contrast_in_spite_of_rounding(tensors):
    weight, covariance = (tensor.float() for tensor in tensors)
    equal = 1e3 * weight[:1].expand(CLASSES, -1)
    for found in (contrast_variances(equal, covariance), contrast_variances_of_classes(equal, covariance[:1])[0]):
        assert (found >= 0).all()
        assert (found.diagonal() == 0).all()
        assert_close(found, torch.zeros(CLASSES, CLASSES), rtol=0, atol=10.0)  # of squares of about 1e7


def test_covariance_receives_no_gradient(tensors):
    weight, covariance = tensors[0].requires_grad_(), tensors[1].requires_grad_()
    total = logit_variances(weight, covariance).sum() + contrast_variances(weight, covariance).sum()
    (total + contrast_variances_of_classes(weight, covariance).sum()).backward()
    assert covariance.grad is None
    assert weight.grad.abs().sum() > 0
