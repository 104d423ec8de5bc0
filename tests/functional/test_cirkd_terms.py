"""CIRKD's similarities against loops written from the paper, and what their chunks cost."""

import math

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.testing import assert_close

from fakd.functional.cirkd import cross_image_kd, memory_kd, unit_vectors
from fakd.functional.kernels.similarity import similarity_kd, similarity_log_softmax
from fakd.models.cost import PeakMemory

from .naive import kl

TAU = 0.3


def normal(*shape: int, seed: int = 0, dtype: torch.dtype = torch.float64) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64).to(dtype)


def maps(batch=3, size=(2, 3), channels=(4, 5), dtype=torch.float64) -> tuple[Tensor, Tensor]:
    ours, theirs = channels
    return normal(batch, ours, *size, dtype=dtype), normal(batch, theirs, *size, seed=1, dtype=dtype)


def pixels(features: Tensor) -> np.ndarray:
    """(B, A, h, w) -> (B, M, A) of length 1, one scalar at a time."""
    batch, channels, height, width = features.shape
    values = features.detach().double().numpy()
    out = np.zeros((batch, height * width, channels))
    for b in range(batch):
        for y in range(height):
            for x in range(width):
                length = math.sqrt(sum(values[b, a, y, x] ** 2 for a in range(channels)))
                for a in range(channels):
                    out[b, y * width + x, a] = values[b, a, y, x] / length
    return out


def cosines(anchor: np.ndarray, others: np.ndarray, tau: float) -> list[float]:
    return [sum(a * o for a, o in zip(anchor, other, strict=True)) / tau for other in others]


def naive_cross_image(student: Tensor, teacher: Tensor, tau: float, rows: list[int] | None = None) -> float:
    s, t = pixels(student), pixels(teacher)
    batch, positions, _ = s.shape
    total, anchors = 0.0, 0
    for i in range(batch):
        for a in range(positions):
            weight = 1 if rows is None else rows.count(i * positions + a)
            anchors += weight
            for j in range(batch):
                total += weight * kl(cosines(t[i, a], t[j], tau), cosines(s[i, a], s[j], tau))
    return total / (batch * anchors)


def naive_memory(student: Tensor, teacher: Tensor, labels: Tensor, memory: Tensor, valid: Tensor, tau: float) -> float:
    s, t = pixels(student), pixels(teacher)
    remembered = [memory[k].double().numpy() for k in range(len(memory)) if valid[k]]
    terms = [
        kl(cosines(t[b, i], remembered, tau), cosines(s[b, i], remembered, tau))
        for b in range(len(s))
        for i in range(s.shape[1])
        if labels.flatten(1)[b, i] != 255
    ]
    return sum(terms) / len(terms)


def memory_inputs(dtype=torch.float64, **options) -> list[Tensor]:
    student, teacher = maps(channels=(4, 4), dtype=dtype, **options)
    labels = torch.zeros(len(student), *student.shape[2:], dtype=torch.int64)
    labels[0, 0, 0] = labels[-1, -1, -1] = 255
    memory = torch.nn.functional.normalize(normal(7, 4, seed=2, dtype=dtype), dim=1)
    return [student, teacher, labels, memory, torch.tensor([True, True, False, True, True, False, True])]


@pytest.mark.parametrize("batch", [1, 3])
@pytest.mark.parametrize("tau", [0.1, 1.0])
def test_mini_batch_term_is_the_papers(batch, tau):
    student, teacher = maps(batch)
    expected = naive_cross_image(student, teacher, tau)
    assert expected > 0.01
    assert_close(cross_image_kd(student, teacher, temperature=tau).item(), expected, rtol=1e-9, atol=0)


def test_mini_batch_term_over_some_anchors():
    student, teacher = maps()
    rows = [17, 0, 5, 5]
    value = cross_image_kd(student, teacher, temperature=TAU, rows=torch.tensor(rows))
    assert_close(value.item(), naive_cross_image(student, teacher, TAU, rows), rtol=1e-9, atol=0)


def test_drawn_anchors_estimate_all_of_them_without_bias():
    """The mean over every choice of one anchor is the whole: value and gradient."""
    student, teacher = maps(2)
    student.requires_grad_()
    singles = [cross_image_kd(student, teacher, rows=torch.tensor([row])) for row in range(12)]
    mean, whole = torch.stack(singles).mean(), cross_image_kd(student, teacher)
    assert_close(mean, whole)
    assert_close(torch.autograd.grad(mean, student), torch.autograd.grad(whole, student))


@pytest.mark.parametrize("tau", [0.1, 1.0])
def test_memory_term_is_the_papers(tau):
    inputs = memory_inputs()
    expected = naive_memory(*inputs, tau)
    assert expected > 0.01
    assert_close(memory_kd(*inputs, temperature=tau).item(), expected, rtol=1e-9, atol=0)


def test_memory_term_over_some_anchors():
    student, teacher, labels, *rest = memory_inputs()
    rows = torch.tensor([0, 3, 8])
    others = torch.full_like(labels, 255)
    others.view(-1)[rows] = labels.view(-1)[rows]
    expected = naive_memory(student, teacher, others, *rest, TAU)
    assert_close(memory_kd(student, teacher, labels, *rest, temperature=TAU, rows=rows).item(), expected)


@pytest.mark.parametrize("chunk", [1, 20, 50, 10**6])
def test_gradients_are_those_of_the_value_whatever_the_chunk(chunk):
    student, teacher = maps(2, (2, 2))
    assert torch.autograd.gradcheck(
        lambda s: cross_image_kd(s, teacher, temperature=TAU, chunk=chunk), student.requires_grad_()
    )
    student, *rest = memory_inputs(batch=2, size=(2, 2))
    assert torch.autograd.gradcheck(
        lambda s: memory_kd(s, *rest, temperature=TAU, chunk=chunk), student.requires_grad_()
    )


def test_gradients_of_anchors_and_others_alone():
    anchors, others = normal(3, 4).requires_grad_(), normal(2, 5, 4, seed=3).requires_grad_()
    taught = normal(3, 2, seed=4), normal(2, 5, 2, seed=5)
    valid = torch.ones(2, 5, dtype=torch.bool)
    valid[0, 2] = False
    counted = torch.tensor([True, False, True])

    def value(a, o):
        return similarity_kd(a, taught[0], o, taught[1], temperature=0.7, counted=counted, valid=valid, chunk=10)

    assert torch.autograd.gradcheck(value, (anchors, others))
    assert torch.autograd.gradcheck(lambda a: value(a, others.detach()), anchors)
    assert torch.autograd.gradcheck(lambda o: value(anchors.detach(), o), others)
    gradient = torch.autograd.grad(value(anchors, others), [anchors, others])
    assert not gradient[0][1].any()
    assert not gradient[1][0, 2].any()
    assert gradient[1][1, 2].any()


def test_chunks_agree_and_equal_plain_autograd():
    student, teacher = maps(3, (3, 3))
    student.requires_grad_()
    s, t = unit_vectors(student), unit_vectors(teacher)
    rows = [torch.einsum("iac,jbc->iajb", side, side).div(TAU).log_softmax(3) for side in (s, t)]
    plain = (rows[1].exp() * (rows[1] - rows[0])).sum(3).mean()
    expected = torch.autograd.grad(plain, student)
    for chunk in (1, 27, 60, 10**7):
        value = cross_image_kd(student, teacher, temperature=TAU, chunk=chunk)
        assert_close(value, plain)
        assert_close(torch.autograd.grad(3 * value, student), (3 * expected[0],))


def test_rows_of_similarities_sum_to_one():
    anchors, others, valid = normal(4, 3), normal(2, 5, 3, seed=1), torch.ones(2, 5, dtype=torch.bool)
    valid[0, :3] = False
    valid[1] = False
    rows = similarity_log_softmax(anchors, others, 0.1, valid).exp()
    assert rows.shape == (4, 2, 5)
    assert_close(rows.sum(2), torch.ones(4, 2, dtype=torch.float64))
    assert not rows[:, 0, :3].any()
    assert_close(similarity_log_softmax(anchors, others, 0.1).exp().sum(2), torch.ones(4, 2, dtype=torch.float64))


def test_scale_of_features_does_not_matter_and_agreement_is_zero():
    student, teacher = maps()
    scale = normal(3, 1, 2, 3, seed=9).exp()
    assert_close(cross_image_kd(student * scale, teacher), cross_image_kd(student, teacher))
    rotation = torch.linalg.qr(normal(4, 4, seed=6)).Q
    rotated = torch.einsum("ij,bjhw->bihw", rotation, student)  # other coordinates, same relations
    assert abs(cross_image_kd(student, rotated).item()) < 1e-12
    _, _, *rest = memory_inputs()
    assert abs(memory_kd(student, 3 * student, *rest).item()) < 1e-12


@pytest.mark.parametrize("case", ["all ignored", "empty memory", "one vector"])
def test_nothing_to_learn_from_is_zero_with_finite_gradients(case):
    student, teacher, labels, memory, valid = memory_inputs(dtype=torch.float32)
    if case == "all ignored":
        labels[:] = 255
    else:
        valid[:] = False
        valid[1] = case == "one vector"
    student.requires_grad_()
    value = memory_kd(student, teacher, labels, memory, valid)
    value.backward()
    assert value.item() == 0
    assert student.grad is not None
    assert not student.grad.any()


def test_positions_without_any_feature_have_bounded_gradients():
    student, teacher = maps(dtype=torch.float32)
    student[0, :, 0, 0] = teacher[1, :, 0, 0] = 0
    student.requires_grad_()
    cross_image_kd(student, teacher).backward()
    assert student.grad.isfinite().all()
    assert student.grad.abs().max() < 1e8


def test_without_gradient_nothing_flows():
    student, teacher = maps()
    with torch.no_grad():
        assert not cross_image_kd(student.requires_grad_(), teacher).requires_grad


def peak(batch: int) -> int:
    student, teacher = (side.requires_grad_() for side in maps(batch, (8, 8), (8, 8), torch.float32))
    with PeakMemory() as memory:
        cross_image_kd(student, teacher, chunk=2**12).backward()
    return memory.peak


def test_peak_memory_does_not_grow_with_the_pairs():
    small, large = peak(4), peak(16)
    similarities = 4 * (16 * 64) ** 2  # of one network
    assert large < 4.2 * small  # the features' own growth, not the 16 times of the pairs
    assert large < similarities / 10


def test_errors_name_what_is_wrong():
    student, teacher = maps()
    with pytest.raises(ValueError, match="temperature must be above 0 and finite, got 0"):
        cross_image_kd(student, teacher, temperature=0)
    with pytest.raises(ValueError, match="chunk must be 1 or more, got 0"):
        cross_image_kd(student, teacher, chunk=0)
    student, teacher, labels, memory, valid = memory_inputs()
    with pytest.raises(ValueError, match=r"labels must be .* \(3, 2, 3\).*got \(3, 2, 2\)"):
        memory_kd(student, teacher, labels[..., :2], memory, valid)
    with pytest.raises(ValueError, match=r"valid must be a bool tensor \(1, 7\), got torch.int64 \(1, 7\)"):
        memory_kd(student, teacher, labels, memory, valid.long())
    with pytest.raises(ValueError, match=r"student_anchors must be \(N, A\).*got \(18, 4\) and \(1, 7, 3\)"):
        memory_kd(student, teacher, labels, memory[:, :3], valid)
    with pytest.raises(ValueError, match="nothing to compare: 18 anchors with 1 groups of 0 others"):
        memory_kd(student, teacher, labels, memory[:0], valid[:0])
