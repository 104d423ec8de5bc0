import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.testing import assert_close

from fakd.functional import class_moments, merge_moments
from fakd.functional.moments import Moments
from fakd.models.cost import PeakMemory

from . import naive

DIAGONAL = pytest.mark.parametrize("diagonal", [True, False], ids=["diagonal", "full"])


def batch(seed=0, classes=4, dtype=torch.float64):
    generator = torch.Generator().manual_seed(seed)
    features = 3 + torch.randn(2, 3, 4, 5, generator=generator, dtype=torch.float64)
    labels = torch.randint(classes - 1, (2, 4, 5), generator=generator)  # the last class is not there
    labels[torch.rand(2, 4, 5, generator=generator) < 0.2] = 255
    return features.to(dtype), labels


def expected_moments(features, labels, classes, diagonal):
    count, mean, covariance = naive.class_moments(features.double().numpy(), labels.numpy(), classes)
    covariance = np.diagonal(covariance, axis1=1, axis2=2).copy() if diagonal else covariance
    return torch.from_numpy(count).long(), torch.from_numpy(mean), torch.from_numpy(covariance)


@DIAGONAL
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16], ids=str)
def test_class_moments(diagonal, dtype):
    features, labels = batch(dtype=dtype)
    found = class_moments(features, labels, 4, diagonal=diagonal)
    count, mean, covariance = expected_moments(features, labels, 4, diagonal)
    assert found.count.dtype == torch.int64
    assert found.mean.dtype == torch.float64
    assert found.covariance.dtype == (torch.float64 if dtype == torch.float64 else torch.float32)
    assert_close(found.count, count)
    tolerance = {"rtol": 1e-12, "atol": 1e-12} if dtype == torch.float64 else {"rtol": 1e-5, "atol": 1e-6}
    assert_close(found.mean, mean, **tolerance)
    assert_close(found.covariance.double(), covariance, **tolerance)


@DIAGONAL
def test_labels_that_are_no_class_are_left_out(diagonal):
    features, labels = batch()
    odd = labels.masked_fill(labels == 255, -7)
    odd[0, 0, 0], labels[0, 0, 0] = 4, 255
    assert_close(
        vars(class_moments(features, odd, 4, diagonal=diagonal)),
        vars(class_moments(features, labels, 4, diagonal=diagonal)),
    )


@DIAGONAL
def test_nothing_to_see(diagonal):
    features, labels = batch()
    found = class_moments(features, torch.full_like(labels, 255), 4, diagonal=diagonal)
    assert all((tensor == 0).all() for tensor in vars(found).values())


def test_the_ignore_label_is_not_a_class_even_where_there_are_more():
    found = class_moments(torch.ones(1, 1, 1, 2), torch.tensor([[[255, 256]]]), 257)
    assert found.count.nonzero().flatten().tolist() == [256]


def test_features_receive_no_gradient():
    features, labels = batch()
    assert not class_moments(features.requires_grad_(), labels, 4).covariance.requires_grad


@DIAGONAL
@pytest.mark.parametrize("offset", [1e2, 1e4])
def test_a_large_mean_costs_no_digits(diagonal, offset):
    features, labels = batch(dtype=torch.float32)
    features += offset
    _, mean, covariance = expected_moments(features, labels, 4, diagonal)
    found = class_moments(features, labels, 4, diagonal=diagonal)
    assert_close(found.covariance.double(), covariance, rtol=1e-5, atol=1e-5)
    assert_close(found.mean, mean, rtol=1e-9, atol=0)


@DIAGONAL
@pytest.mark.parametrize("offset", [0.0, 1e4])
def test_many_pixels_of_one_class_cost_no_digits(diagonal, offset):
    """A batch of 8 images of 1024 x 2048 at stride 8 that is nearly all road."""
    generator = torch.Generator().manual_seed(0)
    features = offset + torch.randn(8, 1, 128, 256, generator=generator)
    found = class_moments(features, torch.zeros(8, 128, 256, dtype=torch.long), 1, diagonal=diagonal)
    values = features.double().numpy()
    assert found.mean.item() == pytest.approx(values.mean(), rel=1e-9, abs=1e-6)
    assert found.covariance.item() == pytest.approx(values.var(), rel=1e-5)


@DIAGONAL
def test_classes_far_apart_cost_no_digits(diagonal):
    """Each class lies 10^4 standard deviations from the others, so one common shift would not do."""
    features, labels = batch(dtype=torch.float32)
    features += 1e4 * labels.masked_fill(labels == 255, -3).unsqueeze(1)
    _, _, covariance = expected_moments(features, labels, 4, diagonal)
    found = class_moments(features, labels, 4, diagonal=diagonal)
    assert_close(found.covariance.double(), covariance, rtol=1e-5, atol=1e-5)


@DIAGONAL
@given(
    shape=st.tuples(*(st.integers(1, most) for most in (3, 70, 5, 6))),
    classes=st.integers(1, 5),
    dtype=st.sampled_from([torch.float32, torch.float64]),
    layout=st.sampled_from(["contiguous", "channels-last", "crop"]),
    seed=st.integers(0, 2**32),
)
@settings(max_examples=30, deadline=None)
def test_any_shape_and_layout_in_many_tiles(diagonal, shape, classes, dtype, layout, seed):
    generator = torch.Generator().manual_seed(seed)
    features = 3 + torch.randn(*shape[:3], shape[3] + 1, generator=generator, dtype=torch.float64).to(dtype)
    features = features[..., 1:] if layout == "crop" else features[..., 1:].contiguous()
    if layout == "channels-last":
        features = features.to(memory_format=torch.channels_last)
    labels = torch.randint(classes, (shape[0], *shape[2:]), generator=generator)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("fakd.functional.kernels.rows._ON_CPU", 32 * 8)  # blocks of 8 pixels
        patch.setattr("fakd.functional.moments._PRODUCTS_AT_ONCE", 2**14)
        found = class_moments(features, labels, classes, diagonal=diagonal)
    count, mean, covariance = expected_moments(features, labels, classes, diagonal)
    tolerance = {"rtol": 1e-11, "atol": 1e-11} if dtype == torch.float64 else {"rtol": 1e-5, "atol": 2e-6}
    assert_close(found.count, count)
    assert_close(found.mean, mean, rtol=tolerance["rtol"] / 10, atol=tolerance["atol"] / 10)
    assert_close(found.covariance.double(), covariance, **tolerance)


@DIAGONAL
def test_the_host_never_asks_a_device_for_a_value(diagonal):
    """On PyTorch's meta device there are none: an `.item()`, or a mask that selects, would raise."""
    features, labels = torch.empty(2, 5, 4, 4, device="meta"), torch.empty(2, 4, 4, device="meta", dtype=torch.long)
    found = class_moments(features, labels, 3, diagonal=diagonal)
    assert found.covariance.shape == ((3, 5) if diagonal else (3, 5, 5))


def test_memory_of_the_diagonal_form_is_a_few_tiles():
    features, labels = torch.randn(4, 128, 64, 64), torch.randint(19, (4, 64, 64))
    with PeakMemory() as memory:
        class_moments(features, labels, 19)
    assert memory.peak < features.nbytes * 1.5


@DIAGONAL
def test_merge_is_the_moments_of_the_union(diagonal):
    first, second = batch(0), batch(1)
    second[0].mul_(2).add_(5)
    second[1][second[1] == 0] = 255  # a class that only the first has
    union = (torch.cat([a, b]) for a, b in zip(first, second, strict=True))
    expected = class_moments(*union, 4, diagonal=diagonal)
    parts = [class_moments(*part, 4, diagonal=diagonal) for part in (first, second)]
    for ordered in (parts, parts[::-1]):
        assert_close(vars(merge_moments(*ordered)), vars(expected), rtol=1e-12, atol=1e-12)


@DIAGONAL
def test_merge_with_nothing_changes_nothing(diagonal):
    features, labels = batch()
    some = class_moments(features, labels, 4, diagonal=diagonal)
    nothing = class_moments(features, torch.full_like(labels, 255), 4, diagonal=diagonal)
    assert_close(vars(merge_moments(some, nothing)), vars(some), rtol=0, atol=0)
    assert_close(vars(merge_moments(nothing, some)), vars(some), rtol=0, atol=0)
    assert_close(vars(merge_moments(nothing, nothing)), vars(nothing), rtol=0, atol=0)


def test_merge_keeps_the_digits_of_a_small_second_set():
    """10^10 vectors with mean 0 and variance 1, and 1000 at 1000: the variance grows by a tenth."""
    first = Moments(torch.tensor([10**10]), torch.zeros(1, 1), torch.ones(1, 1))
    second = Moments(torch.tensor([1000]), torch.full((1, 1), 1000.0), torch.ones(1, 1))
    merged = merge_moments(first, second)
    share = 1000 / (10**10 + 1000)
    assert merged.count.item() == 10**10 + 1000
    assert merged.mean.item() == pytest.approx(1000 * share, rel=1e-12)
    assert merged.covariance.item() == pytest.approx(1 + 1e6 * share * (1 - share), rel=1e-6)
