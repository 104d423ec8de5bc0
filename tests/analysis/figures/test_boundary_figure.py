"""The band around boundaries, and the scores in it and outside it."""

import pytest
import torch
from drawn import drawn, styled, texts
from torch import Tensor

from fakd.analysis.figures.predictions import boundary_scores, draw_boundary
from fakd.analysis.figures.style import choose_looks
from fakd.analysis.pixel_counts import PixelCounts, boundary_band
from fakd.analysis.statistics import Spread
from fakd.types import IGNORE_INDEX


def naive_band(labels: Tensor, width: int) -> Tensor:
    """Look at every pixel around every pixel."""
    high, wide = labels.shape
    found = torch.zeros(high, wide, dtype=torch.bool)
    for y in range(high):
        for x in range(wide):
            around = labels[max(0, y - width) : y + width + 1, max(0, x - width) : x + width + 1].flatten().tolist()
            own = labels[y, x].item()
            found[y, x] = own != IGNORE_INDEX and any(other not in (own, IGNORE_INDEX) for other in around)
    return found


@pytest.mark.parametrize("width", [1, 2, 3])
def test_band_against_a_loop(width) -> None:
    labels = torch.randint(0, 3, (2, 4, 5)).repeat_interleave(4, 1).repeat_interleave(5, 2)
    labels[torch.rand(labels.shape) < 0.1] = IGNORE_INDEX
    labels[:, :5, :5] = IGNORE_INDEX
    labels[1] = torch.where(labels[1] == 2, 1, labels[1])
    band = boundary_band(labels, width)
    assert torch.equal(band, torch.stack([naive_band(label, width) for label in labels]))
    assert 0 < band.sum() < (labels != IGNORE_INDEX).sum()


def test_nothing_is_a_boundary_next_to_ignored_pixels() -> None:
    labels = torch.tensor([[[0, 0, 255, 255, 255, 1, 1]]])
    assert not boundary_band(labels, 3).any()
    assert boundary_band(labels, 4).tolist() == [[[False, True, False, False, False, True, False]]]
    assert not boundary_band(torch.full((1, 4, 4), 255), 2).any()


def test_scores_by_hand() -> None:
    measured = PixelCounts(torch.tensor([[1, 1], [0, 2]]), torch.tensor([[8, 0], [0, 8]]), torch.zeros(3, 2))
    found = boundary_scores(measured)
    assert (found.share, found.boundary_accuracy, found.interior_accuracy) == (20, 75, 100)
    assert found.boundary_mIoU == pytest.approx(100 * (1 / 2 + 2 / 3) / 2)
    assert found.interior_mIoU == 100
    none = boundary_scores(PixelCounts(torch.zeros(2, 2).long(), measured.interior, measured.calibration))
    assert (none.share, none.boundary_accuracy, none.boundary_mIoU) == (0, None, None)


def test_scores_are_written_beside_the_bars() -> None:
    fields = ("boundary_accuracy", "interior_accuracy", "boundary_mIoU", "interior_mIoU")
    scores = {
        "alone": {name: Spread(40.0 + i, None) for i, name in enumerate(fields)},
        "fakd": {name: None if i == 3 else Spread(60.0 + i, 1.5) for i, name in enumerate(fields)},
    }
    with styled():
        figure = draw_boundary(scores, [10.0, 14.0], 5, choose_looks(["alone", "fakd"], ["alone"]))
    drawn(figure)
    assert {"40.0", "43.0", "60.0 ± 1.5", "62.0 ± 1.5", "-"} <= set(texts(figure))
    assert any("within 5 px" in text and "12 %" in text for text in texts(figure))
