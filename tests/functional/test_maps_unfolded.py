import pytest
import torch
from torch import nn

from fakd import ClassCovariance
from fakd.functional import unfold_features


@pytest.mark.parametrize(("kernel", "padding", "dilation"), [(3, 1, 1), (3, 2, 2), (5, 2, 1), (3, 0, 1), (1, 0, 1)])
def test_the_convolution_is_a_linear_map_of_what_it_sees(kernel: int, padding: int, dilation: int) -> None:
    convolution = nn.Conv2d(4, 5, kernel, padding=padding, dilation=dilation).double()
    features = torch.randn(2, 4, 9, 7, dtype=torch.float64)
    seen = unfold_features(features, convolution.kernel_size, convolution.padding, convolution.dilation)
    logits = torch.einsum("ca,bahw->bchw", convolution.weight.flatten(1), seen) + convolution.bias.view(-1, 1, 1)
    torch.testing.assert_close(logits, convolution(features))


def test_variance_of_the_logits_under_perturbations_of_what_is_seen() -> None:
    """The closed form that FAKD uses, against draws."""
    convolution = nn.Conv2d(3, 4, 3, padding=1)
    features, labels = torch.randn(2, 3, 8, 8), torch.zeros(2, 8, 8, dtype=torch.int64)
    seen = unfold_features(features, (3, 3), (1, 1), (1, 1))
    estimate = ClassCovariance(1, 27)
    estimate.update(seen, labels)
    weight = convolution.weight.detach().flatten(1)
    closed = (weight.square() * estimate.covariance[0]).sum(1)
    noise = torch.randn(200_000, 27) * estimate.covariance[0].sqrt()
    torch.testing.assert_close((noise @ weight.T).var(0), closed, rtol=0.03, atol=0)
