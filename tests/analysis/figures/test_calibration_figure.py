"""Calibration counted image by image, against torchmetrics on everything at once."""

import pytest
import torch
from drawn import drawn, styled, texts
from torchmetrics.functional.classification import multiclass_calibration_error

from fakd.analysis.figures.predictions import draw_calibration, expected_calibration_error
from fakd.analysis.figures.style import choose_looks
from fakd.analysis.pixel_counts import calibration_counts
from fakd.analysis.statistics import Spread


@pytest.mark.parametrize("bins", [1, 4, 15])
def test_error_is_torchmetrics_on_the_whole(bins) -> None:
    logits, truth = 3 * torch.randn(5, 200, 6), torch.randint(0, 6, (5, 200))
    counts = torch.zeros(3, bins, dtype=torch.float64)
    for scores, labels in zip(logits, truth, strict=True):
        confidence, predicted = scores.softmax(1).max(1)
        counts += calibration_counts(confidence, predicted == labels, bins)
    expected = multiclass_calibration_error(logits.flatten(0, 1).softmax(1), truth.flatten(), 6, bins)
    assert expected_calibration_error(counts) == pytest.approx(100 * expected.item(), abs=1e-4)
    assert counts[0].sum() == 1000


def test_the_upper_end_of_a_bin_belongs_to_it() -> None:
    counts = calibration_counts(torch.tensor([0.25, 0.5, 0.75, 1.0]), torch.tensor([True, False, True, True]), 4)
    assert counts.tolist() == [[1, 1, 1, 1], [1, 0, 1, 1], [0.25, 0.5, 0.75, 1.0]]


def test_error_by_hand() -> None:
    right = torch.tensor([True, False, True, True])
    counts = calibration_counts(torch.tensor([0.6, 0.8, 0.2, 0.4]), right, 2)
    # below one half both are right at a confidence of 0.3; above it one of two, at 0.7
    assert expected_calibration_error(counts) == pytest.approx(100 * (0.5 * 0.7 + 0.5 * 0.2))


def test_the_diagram_shows_each_bin() -> None:
    counts = torch.tensor([[0.0, 10.0, 30.0], [0.0, 4.0, 27.0], [0.0, 5.0, 24.0]])
    with styled():
        figure = draw_calibration({"fakd": counts}, {"fakd": Spread(6.25, None)}, choose_looks(["fakd"], []))
    drawn(figure)
    line = next(line for line in figure.axes[0].lines if "fakd" in line.get_label())
    assert line.get_xdata() == pytest.approx([50, 80])
    assert line.get_ydata() == pytest.approx([40, 90])
    assert "fakd: ECE 6.2 %" in texts(figure)
