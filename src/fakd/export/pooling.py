"""Averages over a grid whose cells depend on the map's size, in operations that ONNX has for sizes it does not know."""

from typing import Any

import torch
from torch import Tensor, nn


class GridAverage(nn.Module):
    """`nn.AdaptiveAvgPool2d` as two matrix products, with weights computed from the size of each map.

    ONNX averages over cells of one fixed size, so PyTorch's exporters can write the adaptive average only for maps
    whose size is known and a multiple of the grid.

    Args:
        rows: cells along the height.
        columns: cells along the width.

    Example:
        >>> x = torch.rand(2, 5, 7, 13)
        >>> torch.allclose(GridAverage(3, 6)(x), nn.functional.adaptive_avg_pool2d(x, (3, 6)))
        True
    """

    def __init__(self, rows: int, columns: int) -> None:
        super().__init__()
        self.rows, self.columns = rows, columns

    def forward(self, x: Tensor) -> Tensor:
        """Return the averages (B, C, rows, columns) of a map (B, C, h, w)."""
        across = x @ _weights(x, self.columns, x.shape[-1]).transpose(0, 1)
        return _weights(x, self.rows, x.shape[-2]) @ across


def _weights(x: Tensor, cells: int, length: int) -> Tensor:
    """Return (cells, length): row i is 1 / n at the n places of cell i, which may share one with the next."""
    cell, place = torch.arange(cells, device=x.device).unsqueeze(1), torch.arange(length, device=x.device)
    start, end = cell * length // cells, ((cell + 1) * length + cells - 1) // cells
    return ((place >= start) & (place < end)).to(x.dtype) / (end - start).to(x.dtype)


def replace_adaptive_averages(network: nn.Module) -> None:
    """Replace every `nn.AdaptiveAvgPool2d` of a network in place, but for the whole map's average, which ONNX has."""
    for parent in list(network.modules()):
        for name, child in parent.named_children():
            if isinstance(child, nn.AdaptiveAvgPool2d):
                rows, columns = _pair(child.output_size)
                if rows is not None and columns is not None and (rows, columns) != (1, 1):
                    setattr(parent, name, GridAverage(rows, columns))


def _pair(size: Any) -> tuple[int | None, int | None]:
    rows, columns = size if isinstance(size, tuple | list) else (size, size)
    return rows, columns
