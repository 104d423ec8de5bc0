"""Scores of pixels from masks and their classes, against NumPy in float64 and a loop."""

import numpy as np
import pytest
import torch
from scipy.special import expit, softmax

from fakd.functional import mask_scores
from fakd.models.cost import PeakMemory


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_scores_are_the_sum_over_queries(dtype: torch.dtype) -> None:
    classes, masks = 4 * torch.randn(2, 5, 4, dtype=dtype), 6 * torch.randn(2, 5, 3, 7, dtype=dtype)
    shares = softmax(classes.double().numpy(), axis=-1)
    expected = np.zeros((2, 3, 3, 7))
    for image in range(2):
        for query in range(5):
            for c in range(3):  # the fourth is "no object"
                expected[image, c] += shares[image, query, c] * expit(masks[image, query].double().numpy())
    scores = mask_scores(classes, masks)
    assert scores.dtype == dtype
    np.testing.assert_allclose(scores.numpy(), np.log(expected), atol=1e-5)


def test_half_precision_is_left_and_nothing_is_infinite() -> None:
    classes, masks = torch.randn(1, 5, 4), torch.randn(1, 5, 3, 7)
    with torch.autocast("cpu", torch.bfloat16):
        scores = mask_scores(classes, masks)
    assert torch.equal(scores, mask_scores(classes, masks))
    assert mask_scores(classes.bfloat16(), masks.bfloat16()).dtype == torch.float32
    assert mask_scores(classes, torch.full((1, 5, 3, 7), -200.0)).isfinite().all()
    certain = torch.tensor([[[0.0, 0.0, 500.0]]])  # of no class at all
    assert mask_scores(certain, masks[:, :1]).isfinite().all()


@torch.no_grad()
def test_no_tensor_has_queries_and_classes_at_every_position() -> None:
    classes, masks = torch.randn(1, 50, 41), torch.randn(1, 50, 32, 32)
    with PeakMemory() as memory:
        mask_scores(classes, masks)
    position = 4 * 32 * 32
    assert memory.peak < (50 + 3 * 40 + 10) * position  # the masks once, and the scores a few times over


@pytest.mark.parametrize(
    ("classes", "masks"),
    [((1, 5, 1), (1, 5, 2, 2)), ((1, 5, 3), (1, 4, 2, 2)), ((5, 3), (1, 5, 2, 2)), ((2, 5, 3), (1, 5, 2, 2))],
)
def test_shapes_that_do_not_fit(classes: tuple[int, ...], masks: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match=r"expected class_logits \(B, Q, C \+ 1\) and mask_logits"):
        mask_scores(torch.zeros(classes), torch.zeros(masks))
