"""The checks' messages are tested through the losses, in test_every_loss.py."""

import pytest
import torch

from fakd.functional.inputs import check_label_range, full_precision, no_autocast


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
