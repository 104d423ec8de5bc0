import copy

import numpy as np
import pytest
import torch
import torch.distributed as dist
from hypothesis import given, settings
from hypothesis import strategies as st
from shared import SHARED
from torch.testing import assert_close

from fakd import ClassCovariance

VECTORS = SHARED / "vectors" / "covariance.npz"
CLASSES, CHANNELS = 4, 3
DIAGONAL = pytest.mark.parametrize("diagonal", [True, False], ids=["diagonal", "full"])


def batches(seed=0, widths=(5, 1, 7, 2), classes=CLASSES, offset=3.0, dtype=torch.float32):
    """Batches of 2 x 3 x width pixels with another mean each; about a fifth of the labels are ignored."""
    generator = torch.Generator().manual_seed(seed)
    made = []
    for width in widths:
        drift = torch.randn(1, CHANNELS, 1, 1, generator=generator)
        features = offset + drift + torch.randn(2, CHANNELS, 3, width, generator=generator)
        labels = torch.randint(classes, (2, 3, width), generator=generator)
        labels[torch.rand(labels.shape, generator=generator) < 0.2] = 255
        made.append((features.to(dtype), labels))
    return made


def updated(made, state=None, diagonal=True, **options):
    state = state or ClassCovariance(CLASSES, CHANNELS, diagonal=diagonal, **options)
    for features, labels in made:
        state.update(features, labels)
    return state


def assert_equals_numpy(state, made, rtol=1e-5):
    """The state is numpy's population mean and covariance of all pixels at once, in float64."""
    vectors = np.concatenate([np.moveaxis(f.double().numpy(), 1, -1).reshape(-1, f.shape[1]) for f, _ in made])
    labels = np.concatenate([y.numpy().ravel() for _, y in made])
    for c in range(state.num_classes):
        members = vectors[labels == c]
        assert state.count[c].item() == len(members)
        if len(members) == 0:
            assert not state.mean[c].any()
            assert not state.covariance[c].any()
            continue
        np.testing.assert_allclose(state.mean[c].numpy(), members.mean(0), rtol=1e-6, atol=1e-6)
        # NumPy 1 takes a single row for a variable, whatever rowvar says.
        expected = np.atleast_2d(np.cov(members.T, bias=True))
        variances = np.diagonal(expected)
        if state.diagonal:
            np.testing.assert_allclose(state.covariance[c].numpy(), variances, rtol=rtol, atol=1e-7)
        else:  # the rounding of an entry is relative to the two variances it lies between
            error = np.abs(state.covariance[c].numpy() - expected)
            assert (error <= rtol * np.sqrt(np.outer(variances, variances)) + 1e-7).all()


@DIAGONAL
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
def test_equals_the_reference_vectors(diagonal, dtype):
    if not VECTORS.exists():
        pytest.skip(f"no reference values: {VECTORS} is absent")
    vectors = np.load(VECTORS)
    state = ClassCovariance(6, 4, diagonal=diagonal).to(dtype)
    tolerance = {"rtol": 1e-4, "atol": 1e-6} if dtype == torch.float32 else {"rtol": 1e-9, "atol": 1e-12}
    for i in range(5):
        state.update(torch.from_numpy(vectors[f"features/{i}"]).to(dtype), torch.from_numpy(vectors[f"labels/{i}"]))
        covariance = vectors[f"after/{i}/covariance"]
        if diagonal:
            covariance = np.diagonal(covariance, axis1=1, axis2=2)
        assert state.count.tolist() == vectors[f"after/{i}/count"].tolist()
        np.testing.assert_allclose(state.mean, vectors[f"after/{i}/mean"], **tolerance)
        np.testing.assert_allclose(state.covariance, covariance, **tolerance)


@DIAGONAL
@given(seed=st.integers(0, 2**32), widths=st.lists(st.integers(1, 9), min_size=1, max_size=8))
@settings(max_examples=20, deadline=None)
def test_any_split_equals_the_whole(diagonal, seed, widths):
    made = batches(seed, widths)
    assert_equals_numpy(updated(made, diagonal=diagonal), made)


@DIAGONAL
def test_a_mean_of_10000_standard_deviations_costs_no_digits(diagonal):
    made = batches(widths=[30] * 20, offset=1e4)
    assert_equals_numpy(updated(made, diagonal=diagonal), made)


@DIAGONAL
def test_many_small_batches_accumulate_no_error(diagonal):
    made = batches(widths=[1] * 1500, offset=1e3)
    assert_equals_numpy(updated(made, diagonal=diagonal), made)


@DIAGONAL
def test_counts_beyond_32_bits(diagonal):
    """10^10 pixels were seen, and 100 batches of 600 with another mean come: against Python's arithmetic."""
    state = ClassCovariance(1, 1, diagonal=diagonal)
    state.count.fill_(10**10)
    state.mean.fill_(1e4)
    state.covariance.fill_(1.0)
    count, mean, variance = 10**10, 1e4, 1.0
    for step in range(100):
        values = 1e4 + 300 + torch.randn(1, 1, 20, 30, generator=torch.Generator().manual_seed(step))
        state.update(values, torch.zeros(1, 20, 30, dtype=torch.long))
        share = 600 / (count + 600)
        difference = values.double().mean().item() - mean
        variance += share * (values.double().var(correction=0).item() - variance) + share * (1 - share) * difference**2
        mean, count = mean + share * difference, count + 600
    assert state.count.dtype == torch.int64
    assert state.count.item() == count == 10**10 + 60_000
    assert variance > 1.5
    assert state.covariance.item() == pytest.approx(variance, rel=1e-5)
    assert state.mean.double().item() + state.mean_rounding.double().item() == pytest.approx(mean, rel=1e-11)


@DIAGONAL
def test_class_without_pixels_keeps_its_state(diagonal):
    first, second = batches(widths=(4, 4))
    state = updated([first], diagonal=diagonal)
    before = copy.deepcopy(state)
    labels = second[1].masked_fill(second[1] == 1, 255)
    state.update(second[0], labels)
    for name, buffer in state.named_buffers():
        assert_close(buffer[1], before.get_buffer(name)[1], rtol=0, atol=0)
        assert name == "mean_rounding" or not torch.equal(buffer, before.get_buffer(name))


@DIAGONAL
def test_class_never_seen_is_zero_and_a_single_pixel_has_no_variance(diagonal):
    state = ClassCovariance(3, 2, diagonal=diagonal)
    state.update(torch.tensor([5.0, -7.0]).view(1, 2, 1, 1), torch.tensor([[[1]]]))
    assert state.count.tolist() == [0, 1, 0]
    assert state.mean.tolist() == [[0, 0], [5, -7], [0, 0]]
    assert not state.covariance.any()


@DIAGONAL
def test_ignored_pixels_leave_no_trace(diagonal):
    made = batches()
    loud = [(f.masked_fill((y == 255).unsqueeze(1), float("1e6")), y) for f, y in made]
    assert_close(updated(loud, diagonal=diagonal).state_dict(), updated(made, diagonal=diagonal).state_dict())
    state = updated(made, diagonal=diagonal)
    before = copy.deepcopy(state.state_dict())
    state.update(made[0][0], torch.full_like(made[0][1], 255))
    assert_close(state.state_dict(), before, rtol=0, atol=0)


def test_full_holds_the_diagonal_and_is_symmetric():
    made = batches()
    full, diagonal = updated(made, diagonal=False), updated(made)
    assert_close(full.covariance.diagonal(dim1=1, dim2=2), diagonal.covariance, rtol=1e-5, atol=1e-6)
    assert_close(full.covariance, full.covariance.mT, rtol=1e-5, atol=1e-6)
    assert (torch.linalg.eigvalsh(full.covariance) > -1e-5).all()


# the window


def test_window_caps_the_count():
    made = batches(widths=(5, 5))
    state = updated(made, window=7)
    assert (state.count <= 7).all()
    assert (state.count == 7).any()
    assert "window=7" in repr(state)


@DIAGONAL
def test_window_lets_old_features_fade(diagonal):
    """After each batch the past weighs `window` pixels: the mean is n = window in the formulas."""
    state = ClassCovariance(1, 1, diagonal=diagonal, window=2)
    labels = torch.zeros(1, 1, 4, dtype=torch.long)
    state.update(torch.tensor([0.0, 2.0, 0.0, 2.0]).view(1, 1, 1, 4), labels)
    assert (state.count.item(), state.mean.item(), state.covariance.item()) == (2, 1.0, 1.0)
    state.update(torch.tensor([7.0, 7.0, 7.0, 7.0]).view(1, 1, 1, 4), labels)
    assert state.count.item() == 2
    assert state.mean.item() == pytest.approx((2 * 1 + 4 * 7) / 6)
    assert state.covariance.item() == pytest.approx((2 * 1 + 4 * 0) / 6 + 2 * 4 * 6**2 / 6**2)


def test_window_larger_than_the_data_is_none():
    made = batches()
    assert_close(updated(made, window=10**6).state_dict(), updated(made).state_dict(), rtol=0, atol=0)


# state, types and errors


@DIAGONAL
def test_resumed_run_continues_exactly(diagonal, tmp_path):
    made = batches(offset=1e4)
    torch.save(updated(made[:2], diagonal=diagonal).state_dict(), tmp_path / "state.pt")
    resumed = ClassCovariance(CLASSES, CHANNELS, diagonal=diagonal)
    resumed.load_state_dict(torch.load(tmp_path / "state.pt", weights_only=True))
    updated(made[2:], resumed)
    assert_close(resumed.state_dict(), updated(made, diagonal=diagonal).state_dict(), rtol=0, atol=0)


def test_state_is_buffers_and_no_parameters():
    state = ClassCovariance(CLASSES, CHANNELS)
    assert {"count", "mean", "covariance"} <= set(state.state_dict())
    assert list(state.parameters()) == []
    assert state.covariance.shape == (CLASSES, CHANNELS)
    assert ClassCovariance(CLASSES, CHANNELS, diagonal=False).covariance.shape == (CLASSES, CHANNELS, CHANNELS)


@DIAGONAL
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16], ids=str)
def test_half_precision_features_are_taken_as_they_are(diagonal, dtype):
    made = batches(dtype=dtype)
    with torch.autocast("cpu", torch.bfloat16):
        state = updated(made, diagonal=diagonal)
    assert state.covariance.dtype == torch.float32
    assert_equals_numpy(state, made)


def test_features_in_training_are_not_kept():
    features, labels = batches()[0]
    state = updated([(features.requires_grad_(), labels)])
    assert not any(buffer.requires_grad for buffer in state.buffers())


def test_layout_and_label_type_do_not_matter():
    made = batches()
    other = [(f.to(memory_format=torch.channels_last), y.mT.contiguous().mT.to(torch.uint8)) for f, y in made]
    assert_close(updated(other).state_dict(), updated(made).state_dict())


def test_errors_name_what_is_wrong():
    state = ClassCovariance(CLASSES, CHANNELS)
    (features, labels), *_ = batches()
    with pytest.raises(ValueError, match=r"features must be \(B, A, h, w\) with A = 3, got \(2, 2, 3, 5\)"):
        state.update(features[:, :2], labels)
    with pytest.raises(ValueError, match=r"features must be .* got \(3, 3, 5\)"):
        state.update(features[0], labels)
    with pytest.raises(ValueError, match=r"labels must be .* = \(2, 3, 5\).*got \(2, 3, 4\).*resize_labels"):
        state.update(features, labels[..., :4])
    with pytest.raises(ValueError, match=r"values \[4\], expected 0 to 3, or 255"):
        state.update(features, torch.full_like(labels, 4))
    with pytest.raises(ValueError, match=r"labels must be integers, got torch\.float32"):
        state.update(features, labels.float())
    with pytest.raises(ValueError, match=r"features must not be empty, got \(0, 3, 3, 5\)"):
        state.update(features[:0], labels[:0])
    assert not state.count.any()
    with pytest.raises(ValueError, match="1 or more, got 0 and 3"):
        ClassCovariance(0, 3)
    with pytest.raises(ValueError, match="1 or more, got 3 and 0"):
        ClassCovariance(3, 0)
    with pytest.raises(ValueError, match=r"window must be .* got 0"):
        ClassCovariance(3, 3, window=0)


# several processes


@pytest.fixture
def process_group():
    dist.init_process_group("gloo", store=dist.HashStore(), rank=0, world_size=1)
    yield
    dist.destroy_process_group()


@DIAGONAL
@pytest.mark.usefixtures("process_group")
def test_a_group_of_one_process_is_no_group(diagonal):
    made = batches(offset=1e4)
    assert_equals_numpy(updated(made, diagonal=diagonal), made)


def shards():
    """Batches of two ranks: rank 1 never sees class 0, class 3 comes second only, and the means differ."""
    whole = [batches(seed, widths=(4, 6), offset=offset) for seed, offset in ((0, 1e3), (1, 1e3 + 5))]
    for rank, made in enumerate(whole):
        made[0][1][made[0][1] == 3] = 255
        for _, labels in made:
            labels[labels == 0] = 255 if rank == 1 else 0
    return whole


def work(rank, folder):
    states = [updated(shards()[rank], diagonal=diagonal) for diagonal in (True, False)]
    torch.save([state.state_dict() for state in states], f"{folder}/{rank}.pt")


@pytest.mark.slow
def test_two_processes_hold_the_state_of_the_union(ranks):
    first, second = (torch.load(ranks / "test_covariance" / f"{rank}.pt", weights_only=True) for rank in range(2))
    for diagonal, state_dict, other in zip((True, False), first, second, strict=True):
        assert_close(state_dict, other, rtol=0, atol=0)
        state = ClassCovariance(CLASSES, CHANNELS, diagonal=diagonal)
        state.load_state_dict(state_dict)
        assert_equals_numpy(state, [batch for made in shards() for batch in made])
