import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.testing import assert_close

from fakd.functional.kernels.rows import ClassRuns


@st.composite
def labelled(draw):
    classes = draw(st.integers(1, 6))
    labels = draw(st.lists(st.integers(0, classes - 1), min_size=1, max_size=60))
    return torch.tensor(labels), classes, draw(st.integers(1, 9))


@pytest.mark.parametrize("way", ["sum", "_sum_runs", "_add_to_runs"])
@given(case=labelled())
@settings(max_examples=40, deadline=None)
def test_sums_are_those_of_a_loop(way, case):
    labels, classes, longest = case
    values = torch.arange(2 * len(labels), dtype=torch.float64).view(-1, 2) ** 2
    runs = ClassRuns.sort(labels, classes, longest)
    found = getattr(runs, way)(values)
    if way != "sum":  # what PyTorch has for every device gives what is used on some
        found = found.new_zeros(classes, 2).index_add_(0, runs.owners, found)
    expected = torch.stack([values[labels == c].sum(0) for c in range(classes)])
    assert_close(found, expected, rtol=0, atol=0)
    assert runs.count.tolist() == [int((labels == c).sum()) for c in range(classes)]


@given(case=labelled())
@settings(max_examples=40, deadline=None)
def test_tiles_hold_every_row_once_with_its_class(case):
    labels, classes, longest = case
    runs = ClassRuns.sort(labels, classes, longest)
    rows, inside = runs.tiles(longest)
    assert rows.shape == inside.shape == (len(runs.starts), longest)
    assert sorted(rows[inside].tolist()) == list(range(len(labels)))
    assert_close(labels[rows][inside], runs.owners.unsqueeze(1).expand_as(rows)[inside])


@pytest.mark.parametrize("labels", [[0] * 10, [0, 1, 2, 3, 0, 1, 2, 3, 0, 1]], ids=["one class", "four"])
def test_the_number_of_runs_does_not_depend_on_the_labels(labels):
    assert len(ClassRuns.sort(torch.tensor(labels), num_classes=4, longest=4).starts) == 4 + 3
