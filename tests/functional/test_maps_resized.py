import pytest
import torch
from torch.testing import assert_close

from fakd.functional import resize_labels, resize_logits


def test_logits_of_the_right_size_are_returned_as_they_are():
    logits = torch.randn(1, 2, 4, 5, dtype=torch.bfloat16)
    assert resize_logits(logits, (4, 5)) is logits
    assert resize_logits(logits, torch.Size([4, 5])) is logits


def test_labels_of_the_right_size_are_returned_as_they_are():
    labels = torch.randint(3, (1, 4, 5))
    assert resize_labels(labels, (4, 5)) is labels


def test_logits_are_sampled_at_pixel_centres():
    """A ramp stays a ramp: centre x of an image of half the width is 2 x + 1/2 in the old one."""
    ramp = torch.arange(8.0).expand(1, 1, 4, 8)
    assert_close(resize_logits(ramp, (2, 4))[0, 0], torch.tensor([0.5, 2.5, 4.5, 6.5]).expand(2, 4))
    assert_close(resize_logits(ramp, (4, 16))[0, 0, 0, 1:-1], torch.arange(0.25, 7, 0.5))


def test_half_precision_logits_are_resized_in_float32():
    logits = torch.randn(1, 2, 3, 3).bfloat16()
    resized = resize_logits(logits, (5, 7))
    assert resized.dtype == torch.float32
    assert_close(resized, resize_logits(logits.float(), (5, 7)), rtol=0, atol=0)


def test_logits_pass_gradients():
    logits = torch.randn(1, 1, 2, 3, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda tensor: resize_logits(tensor, (4, 4)), logits)


@pytest.mark.parametrize("dtype", [torch.int64, torch.int32, torch.uint8], ids=str)
def test_labels_keep_values_and_type(dtype):
    labels = torch.tensor([[[0, 1, 18, 255], [3, 4, 150, 255]]]).to(dtype)
    enlarged = resize_labels(labels, (4, 8))
    assert enlarged.dtype == dtype
    assert_close(enlarged, labels.repeat_interleave(2, 1).repeat_interleave(2, 2), rtol=0, atol=0)


def test_labels_are_those_nearest_the_new_centres():
    assert resize_labels(torch.arange(9).view(1, 1, 9), (1, 3)).tolist() == [[[1, 4, 7]]]
    columns = resize_labels(torch.arange(16).view(1, 1, 16), (1, 2))[0, 0]
    assert columns.tolist() == [4, 12]  # centres 3.5 and 11.5, not corners 0 and 8
