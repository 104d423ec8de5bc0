import math

import pytest
import torch

from fakd.functional import merge_logits


def naive(logits: torch.Tensor, groups: list[list[int]]) -> torch.Tensor:
    """Position by position, in float64 and with Python's own exp and log."""
    batch, _, height, width = logits.shape
    merged = torch.empty(batch, len(groups), height, width, dtype=torch.float64)
    for b in range(batch):
        for y in range(height):
            for x in range(width):
                scores = logits[b, :, y, x].double().tolist()
                for c, group in enumerate(groups):
                    merged[b, c, y, x] = math.log(sum(math.exp(scores[t]) for t in group))
    return merged


GROUPS = [[4], [0, 2, 5], [1, 3]]


def test_agrees_with_the_sum_of_exponentials() -> None:
    logits = torch.randn(2, 7, 3, 4) * 5
    torch.testing.assert_close(merge_logits(logits, GROUPS).double(), naive(logits, GROUPS), rtol=1e-5, atol=1e-5)


def test_softmax_is_the_probability_of_the_union_given_that_it_is_not_dropped() -> None:
    logits = torch.randn(2, 7, 3, 4, dtype=torch.float64)
    probabilities = logits.softmax(1)
    kept = 1 - probabilities[:, 6]  # the only class in no group
    merged = merge_logits(logits, GROUPS).softmax(1)
    for c, group in enumerate(GROUPS):
        torch.testing.assert_close(merged[:, c], probabilities[:, group].sum(1) / kept)


def test_at_another_temperature_the_merged_distribution_is_flattened() -> None:
    logits, tau = torch.randn(1, 7, 2, 2, dtype=torch.float64), 4.0
    merged = merge_logits(logits, GROUPS)
    powers = merged.softmax(1) ** (1 / tau)
    torch.testing.assert_close((merged / tau).softmax(1), powers / powers.sum(1, keepdim=True))


def test_large_scores_half_precision_and_gradients() -> None:
    logits = torch.tensor([1000.0, 999.0, -1000.0], requires_grad=True)
    merged = merge_logits(logits.view(1, 3, 1, 1), [[0, 1], [2]])
    assert merged.flatten().tolist() == pytest.approx([1000 + math.log1p(math.exp(-1)), -1000])
    merged.sum().backward()
    assert logits.grad is not None
    assert logits.grad.isfinite().all()
    assert merge_logits(torch.zeros(1, 2, 1, 1, dtype=torch.bfloat16), [[0, 1]]).dtype == torch.float32


@pytest.mark.parametrize("groups", [[[0], []], [[0], [3]], [[-1], [0]]])
def test_groups_that_cannot_be(groups: list[list[int]]) -> None:
    with pytest.raises(ValueError, match=r"one or more of the 3 classes, but groups \["):
        merge_logits(torch.zeros(1, 3, 1, 1), groups)
