"""A network as one ONNX file: image in, scores or labels out, at any size."""

import warnings
from collections.abc import Mapping, Sequence
from copy import deepcopy
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from fakd.models.onnx import INPUT, LABELS, LOGITS, require_onnx

Exporter = Literal["torchscript", "dynamo"]
TRACED = (64, 96)
"""Height and width of the images that run through once while the graph is written; nothing in it depends on them."""


class Deployed(nn.Module):
    """What leaves the house: a network that returns one tensor.

    Args:
        network: gives a `SegmentationOutput`.
        upsample: whether scores are enlarged to the image's own size, bilinearly, as `fakd evaluate` does.
        argmax: whether the class with the highest score is returned instead of the scores; upsamples first.
    """

    def __init__(self, network: nn.Module, upsample: bool = False, argmax: bool = False) -> None:
        super().__init__()
        self.network, self.upsample, self.argmax = network, upsample or argmax, argmax
        self.in_channels: int = getattr(network, "in_channels", 3)
        """Of the images."""

    def forward(self, images: Tensor) -> Tensor:
        """Return scores (B, C, h, w), enlarged ones (B, C, H, W), or labels (B, H, W) uint8."""
        scores: Tensor = self.scores(images)
        return scores.argmax(1).to(torch.uint8) if self.argmax else scores

    def scores(self, images: Tensor) -> Tensor:
        """Return what the argmax is taken of."""
        scores: Tensor = self.network(images).logits
        if self.upsample:
            scores = F.interpolate(scores, size=images.shape[-2:], mode="bilinear", align_corners=False)
        return scores


def write_graph(
    deployed: Deployed, path: Path, notes: Mapping[str, str], *, opset: int = 18, exporter: Exporter = "torchscript"
) -> None:
    """Write an ONNX file whose batch, height and width are free.

    Args:
        deployed: in eval mode, on the CPU; it is left as it is.
        path: where to write.
        notes: strings to keep in the file's metadata.
        opset: version of ONNX's operators.
        exporter: "torchscript" follows one run of the network; "dynamo" is PyTorch's newer one, which reads the code
            too and takes about ten times as long.

    Raises:
        ModuleNotFoundError: onnx or onnxscript is not installed.
        ValueError: the network has an operation that the exporter cannot write.
    """
    onnx = require_onnx()
    network = deepcopy(deployed).eval().requires_grad_(False)
    replace_adaptive_averages(network)
    name = LABELS if deployed.argmax else LOGITS
    images = torch.rand(2, deployed.in_channels, *TRACED, generator=torch.Generator().manual_seed(0))
    free = {0: "batch", 2: "height", 3: "width"}
    sizes: dict[str, object] = (
        {"dynamic_axes": {INPUT: free, name: {0: "batch", 1: "y", 2: "x"} if deployed.argmax else free}}
        if exporter == "torchscript"
        else {"dynamic_shapes": (dict.fromkeys(free, torch.export.Dim.DYNAMIC),), "external_data": False}
    )
    try:
        with warnings.catch_warnings(), torch.no_grad():
            warnings.simplefilter("ignore")  # of constants in the graph, which the check at other sizes would find
            torch.onnx.export(
                network,
                (images,),
                str(path),
                dynamo=exporter == "dynamo",
                input_names=[INPUT],
                output_names=[name],
                opset_version=opset,
                verbose=False,
                **sizes,  # type: ignore[arg-type]
            )
    except Exception as error:  # each exporter has many of its own
        other = "dynamo" if exporter == "torchscript" else "torchscript"
        raise ValueError(
            f"PyTorch's {exporter} exporter cannot write this network as ONNX: {_first_line(error)}\n"
            f"Try --exporter {other}, or another --opset."
        ) from error
    model = onnx.load(path)
    _name_sizes(model.graph.input[0], ("batch", deployed.in_channels, "height", "width"))
    # PyTorch's own names are formulas of the image's size, which is their only use
    rest = ("height", "width") if deployed.upsample else ("score_height", "score_width")
    _name_sizes(model.graph.output[0], ("batch", *rest) if deployed.argmax else ("batch", None, *rest))
    onnx.helper.set_model_props(model, dict(notes))
    onnx.save(model, path)


def _name_sizes(value: object, names: Sequence[str | int | None]) -> None:
    for dimension, name in zip(value.type.tensor_type.shape.dim, names, strict=True):  # type: ignore[attr-defined]
        if isinstance(name, str):
            dimension.dim_param = name


def _first_line(error: Exception) -> str:
    return next((line.strip() for line in str(error).splitlines() if line.strip()), type(error).__name__)


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
