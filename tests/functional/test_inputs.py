"""The checks' messages are tested through the losses, in test_every_loss.py."""

import pytest
import torch

from fakd.functional.inputs import (
    check_label_range,
    check_labels,
    full_precision,
    labelled,
    no_autocast,
    pixel_classes,
)


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        (torch.float16, torch.float32),
        (torch.bfloat16, torch.float32),
        (torch.float32, torch.float32),
        (torch.float64, torch.float64),
        (torch.int64, torch.float32),
    ],
    ids=str,
)
def test_full_precision(given, expected):
    assert full_precision(torch.ones(2).to(given)).dtype == expected


def test_full_precision_does_not_copy():
    tensor = torch.ones(2)
    assert full_precision(tensor) is tensor


def test_no_autocast():
    matrix = torch.ones(2, 2)
    with torch.autocast("cpu", torch.bfloat16):
        assert (matrix @ matrix).dtype == torch.bfloat16
        with no_autocast(matrix):
            assert (matrix @ matrix).dtype == torch.float32


def test_label_range_takes_classes_and_the_ignore_label():
    check_label_range(torch.tensor([0, 2, 255]), 3)
    check_label_range(torch.tensor([0, 2, 255], dtype=torch.uint8), 3)
    check_label_range(torch.tensor([0, 299]), 300)


def test_label_range_names_at_most_five_values():
    with pytest.raises(ValueError, match=r"values \[-3, -2, -1, 3, 4\], expected 0 to 2, or 255"):
        check_label_range(torch.tensor([-1, -2, -3, -3, 3, 4, 5, 6, 0]), 3)


def test_pixels_of_no_class_are_one_class_more():
    labels = torch.tensor([[0, 2, 255], [-1, 3, 1]])
    assert pixel_classes(labels, 3).tolist() == [[0, 2, 3], [3, 3, 1]]
    assert labelled(labels, 3).tolist() == [[True, True, False], [False, False, True]]
    assert pixel_classes(torch.tensor([254, 255, 256]), 300).tolist() == [254, 300, 256]
    assert pixel_classes(torch.tensor([1, 255], dtype=torch.uint8), 2).tolist() == [1, 2]


def test_labels_of_maps_are_checked():
    maps, labels = torch.zeros(2, 5, 3, 4), torch.zeros(2, 3, 4, dtype=torch.long)
    check_labels(labels, maps, 1)
    with pytest.raises(ValueError, match=r"scores must be maps .*got \(5, 3, 4\)"):
        check_labels(labels, maps[0], 1, "scores")
    with pytest.raises(ValueError, match=r"features must not be empty, got \(0, 5, 3, 4\)"):
        check_labels(labels[:0], maps[:0], 1)
    with pytest.raises(ValueError, match=r"labels must be integers, got torch\.float32"):
        check_labels(labels.float(), maps, 1)
    with pytest.raises(ValueError, match=r"values \[7\], expected 0 to 2"):
        check_labels(labels + 7, maps, 3)
    check_labels(labels + 7, maps, None)
    with pytest.raises(ValueError, match="labels must be on the device of features, cpu, got meta"):
        check_labels(labels.to("meta"), maps, 3)
