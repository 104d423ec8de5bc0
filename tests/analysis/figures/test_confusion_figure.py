"""Confusion matrices."""

from itertools import pairwise

import torch
from drawn import drawn, styled, texts

from fakd.analysis.figures.predictions import draw_confusion, row_shares


def test_rows_sum_to_a_hundred() -> None:
    counts = torch.randint(0, 50, (4, 4))
    counts[2] = 0
    shares = row_shares(counts)
    for row in (0, 1, 3):
        for column in range(4):
            assert shares[row, column].item() == 100 * counts[row, column].item() / counts[row].sum().item()
    assert shares[2].isnan().all()


def test_truth_is_down_and_numbers_are_written() -> None:
    with styled():
        figure = draw_confusion(torch.tensor([[3, 1], [0, 0]]), ["road", "ca$h $"], "fakd")
    drawn(figure)
    found = texts(figure)
    assert {"75", "25", "road", "ca$h $", "true class", "predicted class", "fakd"} <= set(found)
    places = {text.get_text(): text.get_position() for text in figure.axes[0].texts}
    assert places == {"75": (0, 0), "25": (1, 0)}


def test_names_of_150_classes_do_not_overlap() -> None:
    with styled():
        figure = draw_confusion(torch.randint(1, 50, (150, 150)), [f"class {i}" for i in range(150)], "fakd")
    figure.draw_without_rendering()
    for labels in (figure.axes[0].get_xticklabels(), figure.axes[0].get_yticklabels()):
        boxes = [label.get_window_extent() for label in labels]
        assert len(boxes) == 150
        assert not any(first.overlaps(second) for first, second in pairwise(boxes))
    assert not figure.axes[0].texts
