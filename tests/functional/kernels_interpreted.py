"""The Triton kernels on the CPU, as Triton's interpreter runs them, against PyTorch.

`test_triton.py` runs this with pytest in a process of its own: TRITON_INTERPRET must be set before Triton is imported.
"""

import os
import warnings
from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.testing import assert_close

from fakd.functional import channel_divergence, fused, pixel_divergence, triton_channel_kernels, triton_pixel_kernels

from .losses import LOSSES, Inputs, Loss, every, load_vectors
from .test_channel_divergence import LAYOUTS, alternating, flat, peaked

assert os.environ["TRITON_INTERPRET"] == "1"

# not with a full covariance: kernels only see the table that was made of it
FUSED = [loss for loss in LOSSES if not loss.full and (loss.over == "channel" or loss.bound != "tight")]


@pytest.fixture(scope="module", autouse=True)
def no_check_before():
    """`check_interpreted.py` tries that; here it would only take time."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(channel_divergence, "hold_channel_kernels", lambda *args, **options: None)
        patch.setattr(pixel_divergence, "hold_pixel_kernels", lambda *args: None)
        yield


def value_and_gradients(loss, inputs, on, **options):
    """With kernels or without; a kernel that cannot be used is an error."""
    inputs = inputs.requiring_grad(*loss.differentiable)
    with pytest.MonkeyPatch.context() as patch, warnings.catch_warnings():
        warnings.filterwarnings("error", message="the Triton kernel")
        warnings.filterwarnings("ignore", message=".*encountered in")  # numpy, where a lane is masked later
        patch.setenv("FAKD_TRITON", "1" if on else "0")
        value = loss(inputs, **options)
        gradients = torch.autograd.grad(value, [getattr(inputs, name) for name in loss.differentiable])
    return [value.detach(), *gradients]


def check(loss, inputs, rtol=1e-5, atol=1e-6, **options):
    """In float32 against PyTorch in float64."""
    exact = inputs.map(torch.Tensor.double)
    found = value_and_gradients(loss, inputs, True, **options)
    for one, other in zip(found, value_and_gradients(loss, exact, False, **options), strict=True):
        tolerance = rtol if one.dtype == torch.float32 else 1e-2  # half a unit in the last place of a gradient's type
        assert_close(one.double(), other, rtol=tolerance, atol=atol)


@every(FUSED)
def test_kernels_are_what_runs(loss, monkeypatch):
    """Or the others would compare PyTorch with itself."""
    taken = []
    original = fused.fused_or
    for module in (channel_divergence, pixel_divergence, fused):
        monkeypatch.setattr(module, "fused_or", lambda name, *calls: taken.append(name) or original(name, *calls))
    value_and_gradients(loss, loss.inputs(dtype=torch.float32), True)
    assert len(taken) == 2  # there and back
    value_and_gradients(loss, loss.inputs(dtype=torch.float32), False)
    value_and_gradients(loss, loss.inputs(dtype=torch.float64), True)
    assert len(taken) == 2


@every(FUSED)
@given(
    shape=st.tuples(st.integers(1, 3), st.integers(1, 19), st.integers(1, 9), st.integers(1, 9)),
    layouts=st.tuples(*[st.sampled_from(sorted(LAYOUTS))] * 2),
    dtypes=st.tuples(*[st.sampled_from([torch.float32, torch.float32, torch.bfloat16, torch.float16])] * 2),
    temperature=st.sampled_from([0.5, 1.0, 4.0]),
    strength=st.sampled_from([1e-6, 0.3, 30.0]),
    seed=st.integers(0, 2**32),
)
@settings(max_examples=4, deadline=None, derandomize=True)
def test_any_shape_layout_and_type(loss, shape, layouts, dtypes, temperature, strength, seed):
    batch, classes, *size = shape
    inputs = loss.inputs(seed, batch=batch, classes=classes, size=tuple(size), dtype=torch.float32)
    for name, layout, dtype in zip(("student", "teacher"), layouts, dtypes, strict=True):
        inputs = replace(inputs, **{name: LAYOUTS[layout](getattr(inputs, name).to(dtype))})
    check(loss, inputs, rtol=2e-5 * max(1, strength), atol=1e-5, temperature=temperature, strength=strength)


@every(FUSED)
@pytest.mark.parametrize("size", [(1, 1), (1, 2), (35, 30)])
def test_one_position_and_several_blocks(loss, size):
    """1050 positions: two blocks of a value's loop, two parts of the table's gradient."""
    check(loss, loss.inputs(batch=1, classes=2, size=size, dtype=torch.float32))


@every(FUSED)
def test_half_precision_by_pixel(loss):
    """Logits of another type and layout than float32 in the usual one, both at once."""
    inputs = loss.inputs(classes=19, size=(5, 7), dtype=torch.float32)
    student = inputs.student.bfloat16().contiguous(memory_format=torch.channels_last)
    check(loss, replace(inputs, student=student, teacher=inputs.teacher.bfloat16().mT.contiguous().mT), rtol=2e-5)


@every(FUSED)
def test_one_class(loss):
    check(loss, loss.inputs(classes=1, size=(3, 4), dtype=torch.float32))


@every([loss for loss in FUSED if loss.augmented and loss.over == "channel"])
def test_all_ignored_is_the_plain_loss(loss):
    inputs = loss.inputs(dtype=torch.float32)
    inputs.labels.fill_(255)
    check(loss, inputs)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("FAKD_TRITON", "1")
        assert_close(loss(inputs), loss.plain(inputs))


@every([loss for loss in FUSED if loss.over == "channel" or not loss.augmented])
@pytest.mark.parametrize(("student", "teacher"), [(flat, peaked), (peaked, flat), (alternating, peaked)])
@pytest.mark.parametrize("strength", [1e-6, 1e4])
def test_extreme_scores(loss, student, teacher, strength):
    inputs = loss.inputs(batch=1, dtype=torch.float32, size=(2, 3))
    inputs = replace(inputs, student=student((1, 4, 2, 3)), teacher=teacher((1, 4, 2, 3)))
    largest = 1e4 + strength * inputs.weight.square().sum(1).max() * inputs.covariance.max()
    check(loss, inputs, rtol=1e-5 + 2e-7 * float(largest), atol=1e-5, temperature=1.0, strength=strength)


@every(FUSED)
def test_equals_the_reference_vectors(loss):
    vectors = load_vectors("losses.npz")
    checked = 0
    for key, expected in vectors.items():
        case, *rest = key.split("/")
        options = dict(option.split("=") for option in rest[1].split(",")) if rest[0] == loss.name else None
        if options is None or (loss.augmented and (options["bound"], options["cov"]) != (loss.bound, "diag")):
            continue
        arrays = [vectors[f"{case}/{name}"] for name in ("z", "q", "y", "w", "cov_diag")]
        inputs = Inputs(*map(torch.from_numpy, arrays)).map(torch.Tensor.float)
        value = loss(inputs, temperature=float(options["tau"]), strength=float(options.get("lambda", 0)))
        assert_close(value.item(), float(expected), rtol=1e-4, atol=0, msg=key)
        checked += 1
    assert checked == (12 if loss.augmented else 6)


@every(FUSED)
def test_a_graph_used_twice_and_a_subset_of_gradients(loss):
    inputs = loss.inputs(dtype=torch.float32)
    _, *wanted = value_and_gradients(loss, inputs, True)
    for name, expected in zip(loss.differentiable, wanted, strict=True):
        alone = inputs.requiring_grad(name)
        value = loss(alone)
        for factor in (1, 3):
            (found,) = torch.autograd.grad(factor * value, getattr(alone, name), retain_graph=True)
            assert_close(found, factor * expected)


def test_agreement_is_zero_whatever_the_offset():
    logits = torch.randn(2, 3, 8, 8) + 1e4
    assert Loss(False, "channel")(replace(FUSED[0].inputs(), student=logits, teacher=logits)).item() == pytest.approx(
        0, abs=2e-6
    )


@every(FUSED)
def test_a_kernel_that_fails_gives_way_with_one_warning(loss, monkeypatch):
    monkeypatch.setattr(fused, "_failed", set())
    inputs = loss.inputs(dtype=torch.float32).requiring_grad(*loss.differentiable)
    expected = value_and_gradients(loss, inputs, False)
    without(monkeypatch, "_kernel")
    with pytest.warns(RuntimeWarning, match=r"cannot be used here \(TypeError") as caught:
        values = [loss(inputs).detach() for _ in range(2)]
    assert len([warning for warning in caught if "Triton" in str(warning.message)]) == 1
    assert_close(values, [expected[0]] * 2)


@every(FUSED)
def test_a_gradient_kernel_that_fails_gives_way(loss, monkeypatch):
    monkeypatch.setattr(fused, "_failed", set())
    inputs = loss.inputs(dtype=torch.float32)
    expected = value_and_gradients(loss, inputs, False)
    inputs = inputs.requiring_grad(*loss.differentiable)
    value = loss(inputs)
    without(monkeypatch, "gradient_kernel" if loss.over == "channel" else "_kernel")
    with pytest.warns(RuntimeWarning, match="cannot be used here"):
        found = torch.autograd.grad(value, [getattr(inputs, name) for name in loss.differentiable])
    assert_close([value.detach(), *found], expected)


def without(monkeypatch, suffix):
    """Let kernels fail whose names end so."""
    for module in (triton_channel_kernels, triton_pixel_kernels):
        for name in [name for name in dir(module) if name.endswith(suffix)]:
            monkeypatch.setattr(module, name, None)


@every([loss for loss in FUSED if loss.over == "pixel" and loss.augmented])
@pytest.mark.parametrize("strength", [1e-6, 1e4])
def test_extreme_scores_of_pixels_stay_finite(loss, strength):
    """Away from the CPU exponents are cut at 80 below their row's largest, as where PyTorch computes it."""
    inputs = loss.inputs(batch=1, dtype=torch.float32, size=(2, 3))
    inputs = replace(inputs, student=peaked((1, 4, 2, 3)), teacher=alternating((1, 4, 2, 3)))
    for tensor in value_and_gradients(loss, inputs, True, strength=strength):
        assert tensor.isfinite().all()


@every([loss for loss in FUSED if loss.over == "pixel"])
@pytest.mark.parametrize("classes", [33, 70])
def test_several_tiles_of_classes(loss, classes):
    check(loss, loss.inputs(batch=1, classes=classes, size=(3, 7), dtype=torch.float32), rtol=2e-5)
