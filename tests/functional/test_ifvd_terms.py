"""IFVD's formula against loops written from the paper, and what it must not depend on."""

import math

import pytest
import torch
from torch.testing import assert_close

from fakd.functional.ifvd import intra_class_kd, intra_class_variation

CLASSES = 4


def scene(batch=2, channels=(3, 5), size=(3, 4), dtype=torch.float64, ignored=0.25):
    """Features of the student and of a teacher with more channels, and labels with ignored pixels."""
    student, teacher = (torch.randn(batch, c, *size, dtype=torch.float64).to(dtype) for c in channels)
    labels = torch.randint(CLASSES, (batch, *size)).masked_fill(torch.rand(batch, *size) < ignored, 255)
    return student, teacher, labels


def naive_variation(features, labels):
    """(B, M) cosines between each pixel and the mean of the pixels of its label in its image; None where ignored."""
    rows = []
    for image, names in zip(features.double().flatten(2).tolist(), labels.flatten(1).tolist(), strict=True):
        row = []
        for p in range(len(names)):
            if names[p] == 255:
                row.append(None)
                continue
            same = [q for q in range(len(names)) if names[q] == names[p]]
            centre = [sum(channel[q] for q in same) / len(same) for channel in image]
            pixel = [channel[p] for channel in image]
            dot = sum(a * b for a, b in zip(pixel, centre, strict=True))
            row.append(dot / (math.hypot(*pixel) * math.hypot(*centre)))
        rows.append(row)
    return rows


def naive_loss(student, teacher, labels):
    pairs = [
        (ours, theirs)
        for row, other in zip(naive_variation(student, labels), naive_variation(teacher, labels), strict=True)
        for ours, theirs in zip(row, other, strict=True)
        if ours is not None
    ]
    return sum((ours - theirs) ** 2 for ours, theirs in pairs) / len(pairs)


def gradient(student, teacher, labels):
    student = student.detach().clone().requires_grad_()
    (result,) = torch.autograd.grad(intra_class_kd(student, teacher, labels, num_classes=CLASSES), student)
    return result


@pytest.mark.parametrize("batch", [1, 3])
def test_equals_the_naive_loops(batch):
    student, teacher, labels = scene(batch)
    expected = naive_loss(student, teacher, labels)
    assert_close(intra_class_kd(student, teacher, labels, num_classes=CLASSES).item(), expected)


def test_the_map_is_that_of_the_loops_and_zero_where_ignored():
    student, _, labels = scene()
    found = intra_class_variation(student, labels, CLASSES).flatten(1).tolist()
    expected = [[cosine or 0.0 for cosine in row] for row in naive_variation(student, labels)]
    assert_close(torch.tensor(found), torch.tensor(expected))


def test_names_of_classes_do_not_matter():
    student, teacher, labels = scene()
    renamed = torch.cat([torch.randperm(CLASSES), torch.full((252,), 255)])[labels]
    for name in (lambda y: y, lambda y: torch.where(y == 255, 255, 149 - y)):
        value = intra_class_kd(student, teacher, name(renamed), num_classes=150)
        assert_close(value, intra_class_kd(student, teacher, labels, num_classes=CLASSES))


def test_scales_do_not_matter():
    student, teacher, labels = scene()
    expected = intra_class_kd(student, teacher, labels, num_classes=CLASSES)
    assert_close(intra_class_kd(1e3 * student, 1e-3 * teacher, labels, num_classes=CLASSES), expected)


def test_each_image_has_its_own_centres():
    student, teacher, labels = scene(3, ignored=0)
    alone = [intra_class_kd(student[[b]], teacher[[b]], labels[[b]], num_classes=CLASSES) for b in range(3)]
    assert_close(intra_class_kd(student, teacher, labels, num_classes=CLASSES), torch.stack(alone).mean())


def test_a_class_with_one_pixel_teaches_nothing():
    student, teacher, _ = scene(1)
    labels = torch.full((1, 3, 4), 255)
    labels[0, 1, 2] = 3
    assert intra_class_kd(student, teacher, labels, num_classes=CLASSES).item() == pytest.approx(0, abs=1e-12)
    labels[0, 0] = 1
    expected = naive_loss(student, teacher, labels)
    assert_close(intra_class_kd(student, teacher, labels, num_classes=CLASSES).item(), expected)
    assert gradient(student, teacher, labels)[0, :, 1, 2].abs().max() < 1e-12


def test_ignored_pixels_neither_count_nor_move_a_centre():
    student, teacher, labels = scene()
    expected = intra_class_kd(student, teacher, labels, num_classes=CLASSES)
    ignored = (labels == 255).unsqueeze(1)
    assert ignored.any()
    changed = torch.where(ignored, 1e6 * torch.randn_like(student), student)
    assert_close(intra_class_kd(changed, teacher, labels, num_classes=CLASSES), expected)
    assert not gradient(student, teacher, labels)[ignored.expand_as(student)].any()


def test_nothing_labelled_is_zero_with_gradient_zero():
    student, teacher, labels = scene()
    labels.fill_(255)
    assert intra_class_kd(student, teacher, labels, num_classes=CLASSES).item() == 0
    assert not gradient(student, teacher, labels).any()


def test_pixels_without_length_have_finite_gradients():
    """ReLU leaves pixels that are 0 in all channels, and a class may hold nothing else."""
    student, teacher, labels = scene(dtype=torch.float32, ignored=0)
    student[:, :, 0] = 0
    student *= (labels != 2).unsqueeze(1)
    result = gradient(student, teacher, labels)
    assert result.isfinite().all()
    assert result.abs().max() < 10


def test_float32_sums_lose_little_on_large_maps():
    student, teacher, labels = scene(1, channels=(8, 8), size=(128, 128))
    student, teacher = student + 3, teacher + 3  # as after ReLU, means are not near 0
    labels[labels < 3] = 0
    expected = intra_class_kd(student, teacher, labels, num_classes=CLASSES)
    found = intra_class_kd(student.float(), teacher.float(), labels, num_classes=CLASSES)
    assert found.dtype == torch.float32
    assert_close(found.double(), expected, rtol=1e-5, atol=0)
    assert_close(
        gradient(student.float(), teacher.float(), labels).double(),
        gradient(student, teacher, labels),
        rtol=1e-4,
        atol=1e-9,
    )


def test_labels_that_do_not_fit_are_named():
    student, teacher, labels = scene()
    call = lambda y: intra_class_kd(student, teacher, y, num_classes=CLASSES)  # noqa: E731
    with pytest.raises(ValueError, match=r"got \(2, 3, 3, 4\), .* = \(2, 3, 4\).*got \(2, 1, 4\).*resize_labels"):
        call(labels[:, :1])
    with pytest.raises(ValueError, match=r"labels must be integers, got torch\.float32"):
        call(labels.float())
    with pytest.raises(ValueError, match=r"values \[4\], expected 0 to 3, or 255"):
        call(labels.clone().fill_(4))
