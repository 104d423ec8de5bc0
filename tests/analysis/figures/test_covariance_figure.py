"""Numbers of an estimated covariance against known spectra."""

import math

import pytest
import torch
from drawn import drawn, styled, texts

from fakd import ClassCovariance
from fakd.analysis.figures.features import (
    covariance_figures,
    covariance_growth,
    draw_covariance,
    draw_covariance_growth,
    effective_rank,
    read_covariance,
)
from fakd.analysis.figures.style import choose_looks
from fakd.analysis.runs import read_run


@pytest.mark.parametrize(("spectrum", "expected"), [([1, 1, 1, 1], 4), ([3, 0, 0, 0], 1), ([5, 5, 0, 0], 2)])
def test_rank_of_known_spectra(spectrum, expected) -> None:
    values = torch.tensor([spectrum], dtype=torch.float64)
    turn = torch.linalg.qr(torch.randn(4, 4, dtype=torch.float64))[0]
    assert effective_rank(values).item() == pytest.approx(expected)
    assert effective_rank((turn * values) @ turn.T[None]).item() == pytest.approx(expected)


def test_rank_by_the_formula_and_its_bound() -> None:
    shares = [0.5, 0.3, 0.2]
    expected = math.exp(-sum(share * math.log(share) for share in shares))
    assert effective_rank(7 * torch.tensor([shares])).item() == pytest.approx(expected)
    root = torch.randn(3, 6, 6)
    full = root @ root.mT
    assert (effective_rank(full) <= effective_rank(full.diagonal(dim1=1, dim2=2)) + 1e-9).all()


@pytest.mark.parametrize("diagonal", [True, False])
def test_numbers_of_a_real_estimate(diagonal) -> None:
    features, labels = torch.randn(2, 5, 6, 6) * 3, torch.randint(0, 2, (2, 6, 6))
    estimate = ClassCovariance(3, 5, diagonal=diagonal)
    estimate.update(features, labels)
    found = covariance_figures(estimate.count, estimate.covariance)
    for index in (0, 1):
        points = features.permute(0, 2, 3, 1)[labels == index]
        assert found.pixels[index] == len(points)
        assert found.variance[index] == pytest.approx(points.var(0, correction=0).sum().item(), rel=1e-4)
    assert (found.pixels[2], found.variance[2], found.effective_rank[2]) == (0, None, None)
    assert (found.channels, found.diagonal) == (5, diagonal)


def test_is_drawn_for_every_run() -> None:
    runs = [covariance_figures(torch.tensor([5, 0, 900]), torch.rand(3, 4)) for _ in range(2)]
    with styled():
        figure = draw_covariance({"fakd": runs}, ["road", "car", "sky"], choose_looks(["fakd"], []))
    drawn(figure)
    assert len(figure.axes[0].lines) == 2
    assert any("upper bound" in text for text in texts(figure))
    assert not any("$" in text for text in texts(figure))


def test_growth_is_read_where_it_was_logged(teacher_run, tmp_path) -> None:
    for name in ("config.yaml", "results.json"):
        (tmp_path / name).write_bytes((teacher_run / name).read_bytes())
    assert covariance_growth(read_run(tmp_path)) == []
    logs = tmp_path / "logs/csv/000/metrics.csv"
    logs.parent.mkdir(parents=True)
    logs.write_text("step,watched/variance\n9,1.5\n19,2.5\n")
    growth = covariance_growth(read_run(tmp_path))
    assert growth == [(10, 1.5), (20, 2.5)]
    with styled():
        figure = draw_covariance_growth({"fakd": [growth, growth]}, choose_looks(["fakd"], []))
    drawn(figure)
    assert list(figure.axes[0].lines[0].get_ydata()) == [1.5, 2.5]


def test_runs_without_a_covariance(teacher_run, tmp_path) -> None:
    assert read_covariance(teacher_run) is None
    assert read_covariance(tmp_path) is None
