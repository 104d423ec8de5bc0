"""The blocks of maps against the plain formulas: values, gradients, layouts, and what they cost in memory."""

from dataclasses import replace
from unittest.mock import patch

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.testing import assert_close
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from fakd.functional import augmented_channel_kd, channel_kd
from fakd.functional.kernels import channel_blocks
from fakd.functional.kernels import channel_tight as channel_tight_blocks
from functional.losses import AUGMENTED, Loss, every

CHANNEL = [Loss(False, "channel"), *(loss for loss in AUGMENTED if loss.over == "channel")]


def small_blocks(elements: int = 1):
    """One map in each block."""
    return patch.object(channel_blocks, "CPU_BLOCK", elements)


def by_differences(loss: Loss, inputs, temperature: float, strength: float) -> Tensor:
    """All differences between positions, (B, C, M, M), in float64; torch differentiates it."""
    scores, teacher = (logits.double().flatten(2) / temperature for logits in (inputs.student, inputs.teacher))
    v = torch.zeros_like(scores)
    if loss.augmented:
        weight, covariance = inputs.weight.double(), inputs.covariance.double()
        sigma = covariance if loss.full else covariance.diag_embed()
        table = torch.einsum("ca,yab,cb->yc", weight, sigma, weight)
        power = 1 if loss.bound == "paper" else 2
        labels = inputs.labels.flatten(1)
        at = table[labels.clamp_max(len(table) - 1)].mT * (labels != 255).unsqueeze(1)
        v = strength / (2 * temperature**power) * at
    exponents = (scores + v).unsqueeze(-2) - (scores - v).unsqueeze(-1)  # [i, k]
    if loss.bound == "tight":
        diagonal = torch.eye(scores.shape[2], dtype=torch.bool)
        exponents = torch.where(diagonal, torch.zeros_like(exponents), exponents)
    p = teacher.softmax(-1)
    divergence = (p * (exponents.logsumexp(-1) + teacher.log_softmax(-1))).sum()
    return temperature**2 / (scores.shape[0] * scores.shape[1]) * divergence


def value_and_gradients(function, loss: Loss, inputs):
    inputs = inputs.requiring_grad(*loss.differentiable)
    value = function(inputs)
    gradients = torch.autograd.grad(value, [getattr(inputs, name) for name in loss.differentiable])
    return [value.detach(), *gradients]


def check(loss: Loss, inputs, temperature: float, strength: float, **tolerances: float) -> None:
    found = value_and_gradients(lambda it: loss(it, temperature=temperature, strength=strength), loss, inputs)
    wanted = value_and_gradients(lambda it: by_differences(loss, it, temperature, strength), loss, inputs)
    for one, other in zip(found, wanted, strict=True):
        assert_close(one, other.to(one.dtype), **tolerances)


LAYOUTS = {
    "contiguous": lambda logits: logits.contiguous(),
    "channels last": lambda logits: logits.contiguous(memory_format=torch.channels_last),
    "transposed": lambda logits: logits.mT.contiguous().mT,
    "every other": lambda logits: logits.repeat_interleave(2, 1).repeat_interleave(2, 3)[:, ::2, :, ::2],
    "expanded": lambda logits: logits[:1].expand_as(logits),
}


@every(CHANNEL)
@given(
    shape=st.tuples(st.integers(1, 3), st.integers(1, 5), st.integers(1, 4), st.integers(1, 4)),
    layouts=st.tuples(*[st.sampled_from(sorted(LAYOUTS))] * 2),
    temperature=st.sampled_from([0.5, 1.0, 4.0]),
    strength=st.sampled_from([1e-6, 0.3, 30.0]),
    elements=st.sampled_from([1, 30, 10**6]),
    seed=st.integers(0, 2**32),
)
@settings(max_examples=40, deadline=None)
def test_any_shape_layout_and_block_size(loss, shape, layouts, temperature, strength, elements, seed):
    batch, classes, *size = shape
    inputs = loss.inputs(seed, batch=batch, classes=classes, size=tuple(size))
    for name, layout in zip(("student", "teacher"), layouts, strict=True):
        inputs = replace(inputs, **{name: LAYOUTS[layout](getattr(inputs, name))})
    with small_blocks(elements):
        check(loss, inputs, temperature, strength, rtol=1e-9, atol=1e-12)


def flat(shape):
    return torch.zeros(shape)


def peaked(shape):
    logits = torch.zeros(shape)
    logits[..., 1, 2] = 1e4
    return logits


def alternating(shape):
    return 1e4 * torch.arange(24.0).view(shape).remainder(3)


@every(CHANNEL)
@pytest.mark.parametrize("student", [flat, peaked, alternating])
@pytest.mark.parametrize("teacher", [flat, peaked, alternating])
@pytest.mark.parametrize("strength", [1e-6, 1.0, 1e4])
def test_extreme_scores(loss, student, teacher, strength):
    """In float32, against float64: the largest score of a map may hold all of its mass, none, or an equal share."""
    inputs = loss.inputs(batch=1, dtype=torch.float32, size=(2, 3))
    inputs = replace(inputs, student=student((1, 4, 2, 3)), teacher=teacher((1, 4, 2, 3)))
    largest = 1e4 + strength * inputs.weight.square().sum(1).max() * inputs.covariance.max()
    check(loss, inputs, 1.0, strength, rtol=1e-5 + 2e-7 * float(largest), atol=1e-5)  # exponents are rounded


@every(CHANNEL)
def test_twice_is_the_same_to_the_bit(loss):
    inputs = loss.inputs(classes=5, size=(8, 8), dtype=torch.float32)
    first, second = (value_and_gradients(loss, loss, inputs) for _ in range(2))
    assert_close(first, second, rtol=0, atol=0)


@every(CHANNEL)
def test_a_second_derivative_is_refused(loss):
    inputs = loss.inputs().requiring_grad("student")
    (grad,) = torch.autograd.grad(loss(inputs).square(), inputs.student, create_graph=True)
    with pytest.raises(RuntimeError, match="once_differentiable"):
        grad.sum().backward()


@every(CHANNEL)
def test_only_the_inputs_wait_for_the_way_back(loss):
    """Beyond them: a few numbers of every map, the labels' columns and two tables."""
    inputs = loss.inputs(batch=2, classes=6, size=(16, 16), dtype=torch.bfloat16).requiring_grad("student", "weight")
    own = {tensor.data_ptr() for tensor in vars(inputs).values()}
    kept = []
    with torch.autograd.graph.saved_tensors_hooks(lambda tensor: kept.append(tensor) or tensor, lambda tensor: tensor):
        loss(inputs)
    assert {inputs.student.data_ptr(), inputs.teacher.data_ptr()} <= {tensor.data_ptr() for tensor in kept}
    others = sum(tensor.numel() for tensor in kept if tensor.data_ptr() not in own)
    assert others < inputs.student.numel() / 2


class FreshMemory(TorchDispatchMode):
    """Remembers the bytes of the largest tensor made in its scope that is no view of an earlier one."""

    largest = 0

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        known = {storage.data_ptr() for storage in self.storages(args, kwargs)}
        out = function(*args, **(kwargs or {}))
        fresh = [storage for storage in self.storages(out) if storage.data_ptr() not in known]
        self.largest = max([self.largest, *(storage.nbytes() for storage in fresh)])
        return out

    @staticmethod
    def storages(*trees):
        return [tensor.untyped_storage() for tensor in tree_leaves(trees) if isinstance(tensor, Tensor)]


@every(CHANNEL)
@pytest.mark.parametrize("layout", ["contiguous", "channels last", "transposed"])
def test_no_copy_of_half_precision_logits(loss, layout):
    """Nothing fresh is larger than a block, but for the gradient, which has the layout of the logits."""
    inputs = loss.inputs(batch=2, classes=16, size=(16, 16), dtype=torch.bfloat16)
    inputs = replace(inputs, **{name: LAYOUTS[layout](getattr(inputs, name)) for name in ("student", "teacher")})
    inputs = inputs.requiring_grad(*loss.differentiable)
    with small_blocks(2 * 256), FreshMemory() as fresh:
        value = loss(inputs)
    assert 2 * 256 * 4 <= fresh.largest <= 2 * 256 * 8  # a block, or the labels' columns
    value.backward()
    assert inputs.student.grad.stride() == inputs.student.stride()


@every(CHANNEL)
def test_the_host_never_looks_at_a_value(loss):
    """Tensors without values: `.item()` or an index by a mask would raise."""
    logits, scale = torch.empty(2, 4, 3, 3, device="meta"), torch.empty((), device="meta")
    with pytest.raises(RuntimeError, match="meta"):
        scale.item()
    maps = channel_blocks.Maps(logits, logits, 2.0)
    if loss.augmented:
        labels, table = torch.empty(2, 9, dtype=torch.int64, device="meta"), torch.empty(4, 5, device="meta")
        maps = maps._replace(labels=labels, table=table)
    forward, backward = channel_blocks.divergences, channel_blocks.divergence_gradients
    if loss.bound == "tight":
        forward, backward = channel_tight_blocks.tight_divergences, channel_tight_blocks.tight_divergence_gradients
    rows, statistics = forward(maps)
    of_student, of_table = backward(maps, statistics, scale, of_student=True, of_table=True)
    assert rows.shape == (2, 4, 1)
    assert of_student.shape == logits.shape
    assert (of_table is None) == (not loss.augmented)


def test_agreement_is_zero_whatever_the_offset():
    logits = torch.randn(2, 5, 8, 8, generator=torch.Generator().manual_seed(0)) + 1e4
    assert channel_kd(logits, logits).item() == pytest.approx(0, abs=2e-6)


def test_threads_do_not_change_the_value():
    loss = Loss(True, "channel", "tight")
    inputs = loss.inputs(classes=7, size=(16, 16), dtype=torch.float32)
    threads = torch.get_num_threads()
    values = []
    try:
        for count in (1, 3):
            torch.set_num_threads(count)
            with small_blocks():
                values.append(augmented_channel_kd(*loss.arguments(inputs), strength=1.0, bound="tight"))
    finally:
        torch.set_num_threads(threads)
    assert_close(*values, rtol=1e-6, atol=0)
