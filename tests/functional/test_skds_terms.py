"""Pair-wise affinity against the paper's sums."""

import math
import re

import pytest
import torch
from torch.testing import assert_close
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from fakd.functional import skds as pairwise
from fakd.functional.skds import pairwise_affinity


def naive(student, teacher, patch=(2, 2), pooling="average"):
    """Liu et al. 2020, Eq. 2: float64 sums over pairs of nodes."""

    def nodes(features):
        features = features.double().tolist()
        channels, height, width = len(features), len(features[0]), len(features[0][0])
        out = []
        for top in range(0, height, patch[0]):
            for left in range(0, width, patch[1]):
                pixels = [
                    (y, x)
                    for y in range(top, min(top + patch[0], height))
                    for x in range(left, min(left + patch[1], width))
                ]
                values = [[features[a][y][x] for y, x in pixels] for a in range(channels)]
                out.append([max(v) if pooling == "max" else sum(v) / len(v) for v in values])
        return out

    def cosine(first, second):
        lengths = math.sqrt(sum(v * v for v in first)) * math.sqrt(sum(v * v for v in second))
        return sum(v * w for v, w in zip(first, second, strict=True)) / lengths if lengths else 0.0

    total = 0.0
    for ours, theirs in zip(student, teacher, strict=True):
        ours, theirs = nodes(ours), nodes(theirs)
        count = len(ours)
        for i in range(count):
            for j in range(count):
                total += (cosine(ours[i], ours[j]) - cosine(theirs[i], theirs[j])) ** 2 / count**2
    return total / len(student)


def pair(batch=2, channels=(3, 5), size=(5, 6), dtype=torch.float64, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return tuple(torch.randn(batch, a, *size, generator=generator, dtype=torch.float64).to(dtype) for a in channels)


@pytest.mark.parametrize("patch", [1, 2, (2, 3), (4, 1), 9])
@pytest.mark.parametrize("pooling", ["average", "max"])
@pytest.mark.parametrize("batch", [1, 3])
def test_equals_the_papers_sums(patch, pooling, batch):
    student, teacher = pair(batch)
    sides = patch if isinstance(patch, tuple) else (patch, patch)
    expected = naive(student, teacher, sides, pooling)
    found = pairwise_affinity(student, teacher, patch=patch, pooling=pooling).item()
    assert found == pytest.approx(expected, rel=1e-12, abs=1e-15)
    assert expected > 1e-3 or patch == 9  # a single node resembles itself in both


def test_default_is_the_average_of_patches_of_2x2():
    student, teacher = pair()
    assert pairwise_affinity(student, teacher).item() == pytest.approx(naive(student, teacher), rel=1e-12)


def test_gradients_through_patches_are_those_of_the_value():
    student, teacher = pair(1, size=(3, 2))
    student.requires_grad_()
    assert torch.autograd.gradcheck(lambda s: pairwise_affinity(s, teacher), [student])


@pytest.mark.parametrize("channels", [(3, 5), (5, 3), (40, 2), (40, 40)])
def test_both_forms_agree(channels):
    student, teacher = (pairwise._directions(features, 1, "average") for features in pair(channels=channels))
    student = student.detach().requires_grad_()
    forms = [form(student, teacher) for form in (pairwise._between_nodes, pairwise._between_channels)]
    assert_close(*forms)
    assert_close(*(torch.autograd.grad(form, student)[0] for form in forms))


class LargestTensor(TorchDispatchMode):
    elements = 0

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        out = function(*args, **(kwargs or {}))
        sizes = [t.numel() for t in tree_leaves(out) if isinstance(t, torch.Tensor)]
        self.elements = max([self.elements, *sizes])
        return out


@pytest.mark.parametrize("channels", [(4, 4), (4, 32), (64, 64), (512, 16)])
def test_no_tensor_is_larger_than_the_features(channels):
    student, teacher = pair(2, channels, (16, 16), torch.float32)
    with LargestTensor() as largest:
        pairwise_affinity(student.requires_grad_(), teacher, patch=1).backward()
    features = max(student.numel(), teacher.numel())
    assert features <= largest.elements <= features * 1.01 + 2 * 256**2 * (sum(channels) > 256)


def test_length_of_vectors_does_not_matter():
    student, teacher = pair()
    expected = pairwise_affinity(student, teacher, patch=1)
    scale = torch.rand(2, 1, 5, 6, dtype=torch.float64) + 0.1
    assert_close(pairwise_affinity(student * scale, teacher, patch=1), expected)
    assert_close(pairwise_affinity(student, teacher * scale, patch=1), expected)
    assert_close(pairwise_affinity(student * scale, 1e3 * student, patch=1), torch.zeros_like(expected))
    # pooled pixels weigh by their length, so of patches only a common scale drops out
    assert_close(pairwise_affinity(student * 1e-3, teacher * 1e3), pairwise_affinity(student, teacher))


def test_channels_may_be_turned():
    student, teacher = pair()
    rotation = torch.linalg.qr(torch.randn(5, 5, dtype=torch.float64))[0]
    turned = torch.einsum("ij,bjhw->bihw", rotation, teacher)
    assert_close(pairwise_affinity(student, turned), pairwise_affinity(student, teacher))


def test_range():
    teacher = torch.ones(1, 1, 1, 2)
    assert pairwise_affinity(torch.tensor([1.0, -1.0]).view(1, 1, 1, 2), teacher, patch=1).item() == 2.0
    assert pairwise_affinity(teacher, teacher).item() == 0.0


@pytest.mark.parametrize("size", [(1, 1), (1, 2), (2, 1)])
def test_a_single_node_has_nothing_to_learn(size):
    student, teacher = pair(1, size=size)
    student.requires_grad_()
    value = pairwise_affinity(student, teacher)
    value.backward()
    assert value.item() == pytest.approx(0, abs=1e-15)
    assert_close(student.grad, torch.zeros_like(student))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_nodes_of_zeros_resemble_nothing_and_get_no_gradient(dtype):
    student, teacher = pair(dtype=dtype)
    student[0, :, :2, :2] = 0
    teacher[1, :, 2:4, :2] = 0
    student.requires_grad_()
    value = pairwise_affinity(student, teacher)
    value.backward()
    assert value.item() == pytest.approx(naive(student.detach(), teacher), rel=1e-5)
    assert not student.grad[0, :, :2, :2].any()
    assert student.grad.isfinite().all()
    assert student.grad.abs().max() < 1
    assert pairwise_affinity(torch.zeros_like(student), torch.zeros_like(teacher)).item() == 0


@pytest.mark.parametrize("noise", [1e-1, 1e-2, 1e-3])
@pytest.mark.parametrize("channels", [8, 64], ids=["between channels", "between nodes"])
def test_nearly_equal_affinities_keep_their_digits_in_float32(noise, channels):
    """Where a difference of squares has few of them left."""
    student, _ = pair(channels=(channels, channels), size=(8, 8))
    student = student.abs()  # as after a ReLU: similarities near 1
    teacher = student + noise * torch.randn_like(student)
    exact = student.clone().requires_grad_()
    expected = pairwise_affinity(exact, teacher, patch=1)
    expected.backward()
    single = student.float().requires_grad_()
    value = pairwise_affinity(single, teacher.float(), patch=1)
    value.backward()
    assert 0 < expected.item() < noise**2
    assert value.item() == pytest.approx(expected.item(), abs=3e-7, rel=1e-6)
    lost = 1e-6 / expected.item() ** 0.5
    assert lost < 0.05
    assert (single.grad - exact.grad).norm() < lost * exact.grad.norm()


def test_agreement_is_never_below_0_in_float32():
    for seed in range(20):
        student, _ = pair(channels=(4, 4), size=(8, 8), dtype=torch.float32, seed=seed)
        assert 0 <= pairwise_affinity(student, student, patch=1).item() < 1e-6


def test_types_may_differ():
    student, teacher = torch.randn(2, 3, 6, 6), torch.randn(2, 5, 6, 6)
    expected = pairwise_affinity(student.double(), teacher.double())
    assert_close(pairwise_affinity(student.double(), teacher), expected)
    assert_close(pairwise_affinity(student, teacher.double()), expected)


def test_other_mistakes_are_named():
    student, teacher = pair()
    for patch in (0, (2, 0), (1, 1, 1), 1.5, "2"):
        with pytest.raises(ValueError, match=f"patch must be.*got {re.escape(repr(patch))}"):
            pairwise_affinity(student, teacher, patch=patch)
    with pytest.raises(ValueError, match="one of average, max, got 'mean'"):
        pairwise_affinity(student, teacher, pooling="mean")
