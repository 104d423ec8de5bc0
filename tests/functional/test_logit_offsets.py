"""The offsets that make FAKD of a plain loss: against loops, sampling, reference values and the printed bounds."""

import numpy as np
import pytest
import torch
from torch.testing import assert_close

from fakd.functional import augmented_channel_kd, channel_kd, logit_offsets, pixel_kd

from . import naive
from .losses import LOSSES, Loss, load_vectors
from .test_every_loss import monte_carlo

REFERENCES = pytest.mark.parametrize("reference", ["none", "label"])
FORMS = pytest.mark.parametrize("full", [False, True], ids=["diagonal", "full"])


def inputs_of(full: bool, seed: int = 0):
    return Loss(True, "channel", "paper", full).inputs(seed)


def by_loops(inputs, strength, reference):
    """One number after the other."""
    labels, weight, sigma = (tensor.numpy() for tensor in (inputs.labels, inputs.weight, inputs.covariance))
    offsets = np.zeros(inputs.student.shape)
    for b, c, i, j in np.ndindex(*offsets.shape):
        if (y := labels[b, i, j]) != 255:
            direction = weight[c] - (weight[y] if reference == "label" else 0)
            offsets[b, c, i, j] = strength / 2 * naive.variance(direction, sigma[y])
    return torch.from_numpy(offsets)


@FORMS
@REFERENCES
@pytest.mark.parametrize("strength", [0.0, 0.7, 4.0])
def test_equals_the_naive_loops(full, reference, strength):
    inputs = inputs_of(full)
    found = logit_offsets(inputs.labels, inputs.weight, inputs.covariance, strength=strength, reference=reference)
    assert_close(found, by_loops(inputs, strength, reference))
    own = found.gather(1, inputs.labels.clamp_max(3).unsqueeze(1)).squeeze(1)[inputs.labels != 255]
    assert (own == 0).all() == (reference == "label" or strength == 0)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
def test_equals_the_reference_vectors(dtype):
    vectors, offsets = load_vectors("losses.npz"), load_vectors("offsets.npz")
    checked = 0
    for key, expected in offsets.items():
        case, kind, *rest = key.split("/")
        options = dict(option.split("=") for option in rest[0].split(","))
        if "reference" not in options:
            continue
        y = torch.from_numpy(vectors[f"{case}/y"])
        z, q, w, sigma = (
            torch.from_numpy(vectors[f"{case}/{name}"]).to(dtype) for name in ("z", "q", "w", f"cov_{options['cov']}")
        )
        moves = logit_offsets(y, w, sigma, strength=float(options["lambda"]), reference=options["reference"])
        found = moves
        if kind != "offsets":
            loss = channel_kd if kind == "channel" else pixel_kd
            found = loss(z + moves, q, temperature=float(options["tau"]))
        tolerance = 1e-9 if dtype == torch.float64 else 1e-4
        assert_close(found.double(), torch.from_numpy(expected), rtol=tolerance, atol=tolerance, msg=key)
        checked += 1
    assert checked == 3 * 2 * 2 * 4  # cases, references, covariances; offsets, channel at two temperatures, pixel


@FORMS
@pytest.mark.parametrize("temperature", [0.5, 1.0, 4.0])
def test_channel_gradient_is_that_of_the_printed_bound(full, temperature):
    """Theorem 1 with constant variances, and its value: larger by twice the teacher's mean of v, tau^2 / (B C) each."""
    inputs = inputs_of(full).requiring_grad("student")
    rest = (inputs.labels, inputs.weight, inputs.covariance)
    offsets = logit_offsets(*rest, strength=0.8, reference="none")
    moved = channel_kd(inputs.student + offsets, inputs.teacher, temperature=temperature)
    printed = augmented_channel_kd(inputs.student, inputs.teacher, *rest, strength=0.8, temperature=temperature)
    (found,), (expected,) = (torch.autograd.grad(loss, inputs.student) for loss in (moved, printed))
    assert_close(found, expected, rtol=1e-12, atol=1e-12)
    p = (inputs.teacher / temperature).flatten(2).softmax(-1)
    constant = 2 * temperature * (p * offsets.flatten(2)).sum(-1).mean()
    assert_close(printed.item() - moved.item(), constant.item())


@FORMS
@pytest.mark.parametrize("seed", range(3))
def test_pixel_expectation_is_below_its_bound(full, seed):
    """By sampling: E PD <= PD(z + offsets) + sum_c p_c offsets_c, at temperature 1."""
    loss = Loss(True, "pixel", "tight", full)
    inputs = loss.inputs(seed)
    mean, error = monte_carlo(loss, inputs, temperature=1.0, strength=0.8)
    offsets = logit_offsets(inputs.labels, inputs.weight, inputs.covariance, strength=0.8, reference="label")
    moved = pixel_kd(inputs.student + offsets, inputs.teacher)
    bound = moved + (inputs.teacher.softmax(1) * offsets).sum(1).mean()
    assert pixel_kd(inputs.student, inputs.teacher) < mean + 4 * error
    assert mean - 4 * error < bound


def test_expectation_of_the_reference_vectors_is_below_the_bound():
    vectors, offsets = load_vectors("losses.npz"), load_vectors("offsets.npz")
    keys = [key for key in offsets if "pixel_bound" in key]
    assert len(keys) == 6
    for key in keys:
        case, _, options = key.split("/")
        z, q, y, w = (torch.from_numpy(vectors[f"{case}/{name}"]) for name in "zqyw")
        sigma = torch.from_numpy(vectors[f"{case}/cov_{options.rpartition('=')[2]}"])
        moves = logit_offsets(y, w, sigma, strength=1.0, reference="label")
        bound = pixel_kd(z + moves, q) + (q.softmax(1) * moves).sum(1).mean()
        assert_close(bound.item(), float(offsets[key]), rtol=1e-9, atol=0)
        mean, error = offsets[key.replace("pixel_bound", "expected_pixel")]
        assert mean - 4 * error < bound


@REFERENCES
def test_are_constants(reference):
    inputs = inputs_of(full=False).requiring_grad("weight", "covariance")
    found = logit_offsets(inputs.labels, inputs.weight, inputs.covariance, strength=1.0, reference=reference)
    assert not found.requires_grad


@REFERENCES
def test_types_and_shapes(reference):
    inputs = inputs_of(full=False)
    weight, covariance = inputs.weight.bfloat16(), inputs.covariance.bfloat16()
    with torch.autocast("cpu", torch.bfloat16):
        found = logit_offsets(inputs.labels, weight, covariance, strength=1.0, reference=reference)
    assert found.dtype == torch.float32
    exact = logit_offsets(inputs.labels, weight.double(), covariance.double(), strength=1.0, reference=reference)
    assert_close(found, exact.float(), rtol=1e-5, atol=1e-5)
    convolution = weight[:, :, None, None]
    assert_close(logit_offsets(inputs.labels, convolution, covariance, strength=1.0, reference=reference), found)


@pytest.mark.parametrize("number", [3e38, -3e38])
@pytest.mark.parametrize("loss", LOSSES, ids=str)
def test_no_loss_is_nan_for_the_largest_logits(loss, number):
    """One logit of each map as large as float32 has them, in the student, in the teacher, in both."""
    for names in (("student",), ("teacher",), ("student", "teacher")):
        inputs = loss.inputs(dtype=torch.float32)
        for name in names:
            getattr(inputs, name)[:, ::2, 0, 0] = number
        for temperature in (1.0, 4.0):
            inputs = inputs.requiring_grad(*loss.differentiable)
            value = loss(inputs, temperature=temperature)
            value.backward()
            assert not value.isnan()
            assert not any(getattr(inputs, name).grad.isnan().any() for name in loss.differentiable)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"strength": -1.0}, "strength must be 0 or more and finite, got -1.0"),
        ({"reference": "own"}, "reference must be one of none, label, got 'own'"),
        ({"labels": torch.zeros(2, 2, 3)}, r"labels must be integers \(B, h, w\), got torch.float32 \(2, 2, 3\)"),
        ({"labels": torch.zeros(6, dtype=torch.long)}, r"labels must be .*got torch.int64 \(6,\)"),
        ({"labels": torch.full((1, 1, 1), 4)}, r"labels hold the values \[4\], expected 0 to 3, or 255"),
        ({"weight": torch.ones(4, 3, 3, 3)}, r"weight must be \(C, A\) or \(C, A, 1, 1\), got \(4, 3, 3, 3\)"),
        ({"covariance": torch.ones(4, 2)}, r"covariance must be \(C, A\) = \(4, 3\) .*got \(4, 2\)"),
        (
            {"covariance": torch.ones(4, 3, device="meta")},
            "covariance must be on the device of the weight",
        ),
    ],
)
def test_bad_arguments_are_named(changes, message):
    inputs = inputs_of(full=False)
    arguments = {name: getattr(inputs, name) for name in ("labels", "weight", "covariance")}
    with pytest.raises(ValueError, match=message):
        logit_offsets(**{**arguments, "strength": 1.0, **changes})
