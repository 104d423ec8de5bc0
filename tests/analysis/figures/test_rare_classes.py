"""Gains over the rarity of classes."""

import pytest
from drawn import drawn, styled, texts

from fakd.analysis.figures.by_class import draw_rare_classes, rank_correlation
from fakd.analysis.figures.style import choose_looks


def naive_spearman(first: list[float], second: list[float]) -> float:
    """The textbook's formula for values without ties."""
    ranks = [[sorted(values).index(value) for value in values] for values in (first, second)]
    squares = sum((a - b) ** 2 for a, b in zip(*ranks, strict=True))
    return 1 - 6 * squares / (len(first) * (len(first) ** 2 - 1))


def test_correlation_by_the_formula() -> None:
    shares, gains = [0.1, 30.0, 2.0, 5.0, 11.0], [4.0, -1.0, 5.0, 1.0, 2.0]
    found = rank_correlation(shares, gains)
    assert found is not None
    assert found.rho == pytest.approx(naive_spearman(shares, gains))
    assert found.rho < 0 < found.p < 1
    more = rank_correlation([*shares, 0.0, 50.0], [*gains, 100.0, None])
    assert more == found


@pytest.mark.parametrize(
    ("shares", "gains"),
    [([1.0, 2.0], [1.0, 2.0]), ([1.0, 2.0, 3.0], [0.0, 0.0, 0.0]), ([1.0] * 3, [1.0, 2.0, 3.0]), ([], [])],
)
def test_where_there_is_no_correlation(shares, gains) -> None:
    assert rank_correlation(shares, gains) is None


def test_classes_are_named_without_overlap() -> None:
    classes = [f"class {i}" for i in range(60)]
    shares = [0.01 * 1.1**i for i in range(60)]
    gains = {"cwd": [(-1) ** i * i / 10 for i in range(60)], "fakd": [None if i == 59 else i / 20 for i in range(60)]}
    looks = choose_looks(list(gains), [])
    correlations = {method: rank_correlation(shares, values) for method, values in gains.items()}
    with styled():
        figure = draw_rare_classes(classes, shares, gains, correlations, looks, "alone")
    drawn(figure)
    boxes = [text.get_window_extent() for text in figure.axes[0].texts]
    assert len(boxes) > 5
    assert "class 59" in texts(figure)
    assert not any(a.overlaps(b) for i, a in enumerate(boxes) for b in boxes[i + 1 :])
    assert any("rank correlation" in text for text in texts(figure))


def test_nothing_to_draw_is_no_error() -> None:
    with styled():
        figure = draw_rare_classes(["a"], [0.0], {"cwd": [1.0]}, {"cwd": None}, choose_looks(["cwd"], []), "alone")
    assert not any("rank correlation" in text for text in texts(figure))
