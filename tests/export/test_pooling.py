"""The average over a grid of any map, beside PyTorch's own."""

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from fakd.export.onnx_graph import GridAverage, replace_adaptive_averages


@pytest.mark.parametrize("grid", [(1, 1), (2, 2), (3, 3), (6, 6), (2, 5)])
@pytest.mark.parametrize("size", [(1, 1), (2, 3), (6, 6), (7, 13), (25, 17), (64, 5)])
def test_equals_the_adaptive_average(grid: tuple[int, int], size: tuple[int, int]) -> None:
    x = torch.randn(2, 3, *size, dtype=torch.float64)
    torch.testing.assert_close(GridAverage(*grid)(x), F.adaptive_avg_pool2d(x, grid), rtol=1e-12, atol=1e-12)


def test_takes_the_place_of_grids_alone() -> None:
    network = nn.Sequential(
        nn.AdaptiveAvgPool2d(1), nn.Sequential(nn.AdaptiveAvgPool2d(3)), nn.AdaptiveAvgPool2d((None, 2))
    )
    replace_adaptive_averages(network)
    assert [type(m).__name__ for m in network.modules()] == [
        "Sequential", "AdaptiveAvgPool2d", "Sequential", "GridAverage", "AdaptiveAvgPool2d",
    ]  # fmt: skip
