"""The tiles of the pixel-wise losses; the losses themselves are checked in test_every_loss.py."""

from contextlib import nullcontext
from functools import partial

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.testing import assert_close

from fakd.functional import augmented_pixel_kd
from fakd.functional import fakd as augmented_pixel
from fakd.functional import pixel_kd as eager_pixel_kd
from fakd.functional.kernels import pixel as pixel_divergence
from fakd.functional.kernels import pixel_tiles
from fakd.functional.kernels.pixel import pixel_divergence as divergence
from fakd.functional.kernels.pixel_tiles import Layout, Table, Workspace
from functional import naive
from functional.losses import Loss

BOUNDS = pytest.mark.parametrize("bound", ["paper", "tight"])


def textbook(student, teacher, exponents, *, temperature=1.0):
    """The sum with a (B, C, K, h, w) tensor, by autograd."""
    z, log_p = student / temperature, (teacher / temperature).log_softmax(1)
    inner = (z.unsqueeze(1) + exponents[:, :, None, None]).logsumexp(2)
    return (log_p.exp() * (inner - z + log_p)).sum()


def random(seed=0, *, shape=(2, 4, 3, 5), scale=1.0, span=1.0, dtype=torch.float64):
    """Logits and a table of which one row spans exactly `span`."""
    generator = torch.Generator().manual_seed(seed)
    classes = shape[1]
    z, q = scale * torch.randn(2, *shape, generator=generator, dtype=torch.float64)
    exponents = torch.rand(classes, classes, generator=generator, dtype=torch.float64)
    exponents[0] = torch.linspace(0, span, classes)
    return [tensor.to(dtype).requires_grad_() for tensor in (z, q, exponents)]


def gradients(function, tensors, **options):
    value = function(*tensors, **options)
    return value, *torch.autograd.grad(value, [tensors[0], tensors[2]])


@pytest.fixture
def small_tiles(monkeypatch):
    """Tiles of a few pixels, so that small maps have many, the last of them cut short."""

    def set_elements(elements):
        monkeypatch.setattr(pixel_tiles, "_ELEMENTS_CPU", elements)

    return set_elements


@given(
    seed=st.integers(0, 2**32),
    shape=st.tuples(st.integers(1, 3), st.integers(1, 5), st.integers(1, 6), st.integers(1, 6)),
    elements=st.integers(1, 60),
    temperature=st.sampled_from([0.5, 1.0, 4.0]),
    span=st.sampled_from([1.0, 500.0, 700.0, 1e4]),
    scale=st.sampled_from([1.0, 30.0, 500.0]),
)
@settings(max_examples=60, deadline=None)
def test_equals_autograd_through_the_naive_tensor(seed, shape, elements, temperature, span, scale):
    tensors = random(seed, shape=shape, span=span, scale=scale)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(pixel_tiles, "_ELEMENTS_CPU", elements)
        found = gradients(divergence, tensors, temperature=temperature)
    assert_close(found, gradients(textbook, tensors, temperature=temperature), rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("elements", [1, 10, 1 << 20])
@pytest.mark.parametrize("temperature", [1.0, 3.0])
def test_without_a_table_is_the_plain_divergence(small_tiles, elements, temperature):
    small_tiles(elements)
    z, q, _ = random(scale=5.0)
    value = divergence(z, q, temperature=temperature)
    assert_close(temperature**2 / 30 * value.item(), naive.pixel_kd(z.detach(), q.detach(), tau=temperature))
    (found,) = torch.autograd.grad(temperature**2 / 30 * value, z)
    (expected,) = torch.autograd.grad(eager_pixel_kd(z, q, temperature=temperature), z)
    assert_close(found, expected)
    assert divergence(q, q, temperature=temperature).item() == pytest.approx(0, abs=1e-13)


def test_plain_divergence_of_half_precision():
    z, q, _ = (tensor.detach().bfloat16() for tensor in random(scale=5.0))
    value = divergence(z.requires_grad_(), q, temperature=2.0)
    wide = z.detach().float().requires_grad_()
    expected = divergence(wide, q.float(), temperature=2.0)
    assert_close(value, expected, rtol=1e-6, atol=0)
    (found,), (wanted,) = torch.autograd.grad(value, z), torch.autograd.grad(expected, wide)
    assert found.dtype == torch.bfloat16
    assert_close(found.float(), wanted, rtol=2e-2, atol=1e-3)


@pytest.mark.parametrize(("span", "scale"), [(79, 10), (79, 1e3), (81, 10), (81, 1e3), (1e4, 10), (1e4, 1e3)])
def test_float32_is_right_on_both_ways(monkeypatch, span, scale):
    """Class by class where, and only where, both the table and a pixel span too much."""
    slow = []
    of_class = pixel_tiles._class_by_class
    monkeypatch.setattr(pixel_tiles, "_class_by_class", lambda *a: slow.append(1) or of_class(*a))
    tensors = random(span=span, scale=scale, dtype=torch.float32)
    found = gradients(divergence, tensors, temperature=1.0)
    exact = gradients(textbook, [tensor.detach().double().requires_grad_() for tensor in tensors])
    assert bool(slow) == (span > 80 and scale == 1e3)
    for one, other in zip(found, exact, strict=True):
        assert_close(one.double(), other, rtol=1e-4, atol=2e-5 * max(1, scale / 10))


def test_entry_that_is_cut_is_not_seen(monkeypatch):
    """Pixels at the limit of the spread, a table far beyond the span: the product alone is still right."""
    monkeypatch.setattr(pixel_tiles, "_class_by_class", None)
    z = torch.tensor([0.0, -54.9]).view(1, 2, 1, 1)
    exponents = torch.tensor([[0.0, 1e3], [0.0, 0.0]])
    for q in (z, -z, 0 * z):
        tensors = [tensor.clone().requires_grad_() for tensor in (z, q, exponents)]
        exact = [tensor.detach().double().requires_grad_() for tensor in tensors]
        found, expected = gradients(divergence, tensors, temperature=1.0), gradients(textbook, exact)
        assert_close(found, tuple(tensor.float() for tensor in expected), rtol=1e-6, atol=3e-8)


def test_away_from_the_cpu_the_cut_stays_finite():
    """The way of a GPU, which does not look: beyond the spread the loss is smaller, and everything finite."""
    table = Table(torch.tensor([[[0.0, 1e3], [1e3, 0.0]]]))
    assert table.wide
    table.wide = False
    z, q = torch.tensor([[[0.0], [-1e4]]]), torch.tensor([[[-1e4], [0.0]]])
    descent = torch.empty_like(z)
    value, by_table = Workspace(Layout(z, z), 1.0).divergence(z, q, table, descent=descent, by_table=True)
    assert 1e4 <= value.item() <= 1.1e4
    assert descent.isfinite().all()
    assert by_table.isfinite().all()


def full_tiles(monkeypatch, padded, most=2**24):
    """Tiles as on a GPU: at most so many rows of `padded` pixels, filled up."""
    monkeypatch.setattr(pixel_divergence, "_PADDED", padded)
    monkeypatch.setattr(pixel_divergence, "_runs", partial(pixel_divergence._padded_runs, most=most))


@pytest.mark.parametrize("loss", [Loss(True, "pixel", "tight"), Loss(True, "pixel", "tight", full=True)], ids=str)
@pytest.mark.parametrize("padded", [1, 3, 7, 256])
@pytest.mark.parametrize("labels", ["mixed", "one class", "all ignored"])
def test_tight_with_filled_up_tiles(monkeypatch, loss, padded, labels):
    inputs = loss.inputs(size=(5, 7)).requiring_grad("student", "weight")
    if labels != "mixed":
        inputs.labels.fill_(2 if labels == "one class" else 255)
    expected = loss.naive(inputs)
    by_size = torch.autograd.grad(loss(inputs), [inputs.student, inputs.weight])
    full_tiles(monkeypatch, padded)
    value = loss(inputs)
    assert_close(value.item(), expected, rtol=1e-9, atol=0)
    assert_close(torch.autograd.grad(value, [inputs.student, inputs.weight]), by_size)


@pytest.mark.parametrize("most", [1, 2])
def test_tight_with_few_rows_of_covariances(monkeypatch, most):
    loss = Loss(True, "pixel", "tight", full=True)
    inputs = loss.inputs(size=(5, 7))
    full_tiles(monkeypatch, 3, most)
    assert_close(loss(inputs).item(), loss.naive(inputs), rtol=1e-9, atol=0)


@pytest.mark.parametrize("most", [1, 2, 100])
def test_rows_of_a_filled_up_tile_are_bounded(most):
    """For each its class's covariance is gathered."""
    found = list(pixel_divergence._padded_runs(torch.arange(10) // 2, 4, 10_000, most))
    assert max(len(pixels) for pixels, _ in found) == min(most, 6)
    counted = torch.cat([pixels[count] for pixels, count in found])
    assert sorted(counted.tolist()) == list(range(10))


@pytest.mark.parametrize("loss", [Loss(True, "pixel", "tight"), Loss(True, "pixel", "paper", full=True)], ids=str)
def test_gradients_across_tiles(small_tiles, loss):
    small_tiles(9)
    inputs = loss.inputs(batch=2, classes=3, channels=2, size=(2, 3)).requiring_grad("student", "weight")

    def value(student, weight):
        return augmented_pixel_kd(
            student, inputs.teacher, inputs.labels, weight, inputs.covariance, strength=0.8, bound=loss.bound
        )

    assert torch.autograd.gradcheck(value, [inputs.student, inputs.weight])


@BOUNDS
@pytest.mark.parametrize("full", [False, True], ids=["diagonal", "full"])
def test_the_host_asks_the_device_nothing(monkeypatch, bound, full):
    """Tensors without data raise where a value of theirs is needed: .item(), a truth value, a boolean mask."""
    for module in (augmented_pixel, pixel_divergence):
        monkeypatch.setattr(module, "no_autocast", nullcontext)  # there is none for this device
    monkeypatch.setattr(pixel_tiles, "_ELEMENTS", 2000)
    inputs = Loss(True, "pixel", bound, full).inputs(size=(20, 30), dtype=torch.float32)
    student, teacher, labels, weight, covariance = (tensor.to("meta") for tensor in vars(inputs).values())
    student.requires_grad_(), weight.requires_grad_()
    value = augmented_pixel_kd(student, teacher, labels, weight, covariance, strength=1.0, bound=bound)
    found = torch.autograd.grad(value, [student, weight])
    assert [tensor.shape for tensor in found] == [student.shape, weight.shape]
    with pytest.raises((RuntimeError, NotImplementedError)):  # so such a tensor does notice; by which of the two varies
        labels[labels == 1].tolist()


@BOUNDS
def test_strong_perturbations_are_right(bound):
    """A table of thousands, logits as a network's."""
    loss = Loss(True, "pixel", bound)
    inputs = loss.inputs(size=(4, 4))
    inputs.covariance.mul_(100)
    value = loss(inputs.map(torch.Tensor.float), strength=50.0, temperature=1.0).item()
    assert value > 1000
    assert value == pytest.approx(loss.naive(inputs, strength=50.0, temperature=1.0), rel=1e-5)


@BOUNDS
def test_second_derivatives_are_refused(bound):
    inputs = Loss(True, "pixel", bound).inputs().requiring_grad("student", "weight")
    factor = torch.ones((), dtype=torch.float64, requires_grad=True)
    value = augmented_pixel_kd(*vars(inputs).values(), strength=1.0, bound=bound)
    (first,) = torch.autograd.grad(factor * value, inputs.student, create_graph=True)
    with pytest.raises(RuntimeError, match="once_differentiable"):
        first.sum().backward()
    (first,) = torch.autograd.grad(value, inputs.student, create_graph=True)
    with pytest.raises(RuntimeError, match="does not require grad"):
        first.sum().backward()


@BOUNDS
def test_a_graph_used_twice_follows_the_gradient_it_is_given(bound):
    inputs = Loss(True, "pixel", bound).inputs().requiring_grad("student", "weight")
    value = augmented_pixel_kd(*vars(inputs).values(), strength=1.0, bound=bound)
    tensors = [inputs.student, inputs.weight]
    once = torch.autograd.grad(value, tensors, retain_graph=True)
    thrice = torch.autograd.grad(3 * value, tensors)
    assert_close([3 * tensor for tensor in once], list(thrice))


@BOUNDS
def test_half_precision_gradients_survive_a_loss_scale(bound):
    """The scale does not fit into float16; its product with the gradient does."""
    inputs = Loss(True, "pixel", bound).inputs(size=(8, 8), dtype=torch.float32)
    half = inputs.map(torch.Tensor.half).requiring_grad("student")
    value = augmented_pixel_kd(*vars(half).values(), strength=1.0, bound=bound)
    (found,) = torch.autograd.grad(2**19 * value, half.student)
    wide = half.map(torch.Tensor.float).requiring_grad("student")
    (expected,) = torch.autograd.grad(augmented_pixel_kd(*vars(wide).values(), strength=1.0, bound=bound), wide.student)
    assert found.dtype == torch.float16
    assert_close(found.float(), 2**19 * expected, rtol=2e-3, atol=1.0)


@BOUNDS
def test_nothing_is_kept_where_gradients_are_off(bound):
    inputs = Loss(True, "pixel", bound).inputs().requiring_grad("student", "weight")
    recorded = augmented_pixel_kd(*vars(inputs).values(), strength=1.0, bound=bound)
    with torch.no_grad():
        value = augmented_pixel_kd(*vars(inputs).values(), strength=1.0, bound=bound)
    assert not value.requires_grad
    assert_close(value, recorded.detach())


def test_channels_last_logits_get_a_gradient_of_their_shape():
    inputs = Loss(True, "pixel", "tight").inputs(size=(3, 5))
    last = inputs.student.to(memory_format=torch.channels_last).requires_grad_()
    plain = inputs.student.requires_grad_()
    found, expected = (
        torch.autograd.grad(augmented_pixel_kd(z, *list(vars(inputs).values())[1:], strength=1.0, bound="tight"), z)[0]
        for z in (last, plain)
    )
    assert_close(found, expected)
