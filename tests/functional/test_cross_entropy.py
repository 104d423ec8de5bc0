import pytest
import torch
import torch.nn.functional as F
from torch.testing import assert_close

from fakd.functional import resize_logits
from fakd.functional.cross_entropy import cross_entropy


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
