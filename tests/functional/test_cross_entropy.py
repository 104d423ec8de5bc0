import pytest
import torch
import torch.nn.functional as F
from torch.testing import assert_close

from fakd.functional import resize_logits
from fakd.functional.cross_entropy import cross_entropy, hard_cross_entropy


@pytest.fixture
def pair():
    generator = torch.Generator().manual_seed(0)
    labels = torch.randint(3, (2, 8, 8), generator=generator)
    labels[0, :4] = 255
    return torch.randn(2, 3, 4, 4, generator=generator), labels


def test_is_the_mean_over_labelled_pixels(pair):
    logits, labels = pair
    log_p = resize_logits(logits, (8, 8)).log_softmax(1)
    known = labels != 255
    expected = -log_p.movedim(1, -1)[known].gather(1, labels[known].unsqueeze(1)).sum()
    assert_close(cross_entropy(logits, labels), expected / known.sum())
    assert_close(cross_entropy(logits, labels, average="all"), expected / labels.numel())


def test_is_zero_and_flat_where_all_is_ignored(pair):
    logits, labels = pair[0].requires_grad_(), torch.full_like(pair[1], 255)
    for average in ("valid", "all"):
        loss = cross_entropy(logits, labels, average=average)
        loss.backward()
        assert loss.item() == 0
        assert not logits.grad.any()


def test_logits_of_the_labels_size_are_not_resized(pair):
    logits = torch.randn(2, 3, 8, 8)
    assert_close(cross_entropy(logits, pair[1]), F.cross_entropy(logits, pair[1], ignore_index=255))


@pytest.mark.parametrize("smoothing", [0.0, 0.2])
def test_weighted_is_pytorchs_but_for_what_it_divides_by(pair, smoothing):
    labels, weight = pair[1], torch.tensor([0.5, 1.0, 4.0])
    logits = torch.randn(2, 3, 8, 8)
    ours = cross_entropy(logits, labels, weight=weight, label_smoothing=smoothing)
    theirs = F.cross_entropy(logits, labels, weight=weight, ignore_index=255, label_smoothing=smoothing)
    known = labels[labels != 255]
    assert_close(ours * len(known), theirs * weight[known].sum())


def hard_by_a_loop(logits, labels, probability, least):
    """Every labelled pixel's loss; those of a smaller probability, or else the largest."""
    losses = []
    for image, label in zip(logits.double(), labels, strict=True):
        for y in range(label.shape[0]):
            for x in range(label.shape[1]):
                if label[y, x] != 255:
                    losses.append(-image[:, y, x].log_softmax(0)[label[y, x]].item())
    losses.sort(reverse=True)
    hard = [loss for loss in losses if loss >= -torch.tensor(probability).log().item()]
    count = max(len(hard), int(least * labels.numel()))
    return sum(losses[:count]) / count


@pytest.mark.parametrize(("scale", "least"), [(1.0, 1 / 16), (20.0, 1 / 4)])
def test_hard_pixels_alone(pair, scale, least):
    logits = scale * F.one_hot(pair[1].clamp_max(2), 3).movedim(-1, 1) / 10 + torch.randn(2, 3, 8, 8) / 5
    ours = hard_cross_entropy(logits, pair[1], least=least)
    assert ours.item() == pytest.approx(hard_by_a_loop(logits, pair[1], 0.7, least), rel=1e-5)


def test_hard_pixels_where_all_is_ignored(pair):
    logits = pair[0].requires_grad_()
    loss = hard_cross_entropy(logits, torch.full_like(pair[1], 255))
    loss.backward()
    assert loss.item() == 0
    assert not logits.grad.any()
