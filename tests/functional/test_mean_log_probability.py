import numpy as np
import pytest
import torch
import torch.nn.functional as F

from fakd.functional import mean_log_probability


def oracle(logits: list[np.ndarray], weights: list[float]) -> np.ndarray:
    """A plain loop in float64 over networks."""
    total = np.zeros_like(logits[0], dtype=np.float64)
    for scores, weight in zip(logits, weights, strict=True):
        shifted = np.exp(scores.astype(np.float64) - scores.max(1, keepdims=True))
        total += weight / sum(weights) * shifted / shifted.sum(1, keepdims=True)
    return np.log(total)


@pytest.mark.parametrize("weights", [[1.0, 1.0, 1.0], [2.0, 1.0, 0.25]])
def test_against_numpy(weights: list[float]) -> None:
    logits = [scale * torch.randn(2, 5, 3, 4) for scale in (1, 5, 20)]
    found = mean_log_probability(logits, weights)
    assert found.dtype == torch.float32
    np.testing.assert_allclose(found.numpy(), oracle([maps.numpy() for maps in logits], weights), rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(found.exp().sum(1), torch.ones(2, 3, 4))


def test_coarser_maps_are_resized_to_the_finest() -> None:
    fine, coarse = torch.randn(1, 3, 8, 6), torch.randn(1, 3, 4, 3)
    resized = F.interpolate(coarse, size=(8, 6), mode="bilinear", align_corners=False)
    for maps, expected in (([coarse, fine], [resized, fine]), ([fine, coarse], [fine, resized])):
        found = mean_log_probability(maps, [1, 3])
        np.testing.assert_allclose(
            found.numpy(), oracle([one.numpy() for one in expected], [1, 3]), rtol=1e-5, atol=1e-5
        )


def test_large_and_half_precision_scores_stay_finite() -> None:
    certain = torch.tensor([1e4, -1e4]).view(1, 2, 1, 1)
    assert mean_log_probability([certain, certain], [1, 1]).isfinite().all()
    assert mean_log_probability([certain, -certain], [3, 1]).exp().flatten().tolist() == pytest.approx([0.75, 0.25])
    half = torch.randn(1, 3, 2, 2).half()
    assert mean_log_probability([half], [5]).dtype == torch.float32
    torch.testing.assert_close(mean_log_probability([half], [5]), half.float().log_softmax(1))


@pytest.mark.parametrize("weights", [[1], [1, 0], [1, -1], [1, float("nan")], [1, float("inf")]])
def test_weights_that_do_not_fit(weights: list[float]) -> None:
    with pytest.raises(ValueError, match="a weight above 0 for each of 2 networks"):
        mean_log_probability([torch.zeros(1, 2, 1, 1)] * 2, weights)
