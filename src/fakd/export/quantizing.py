"""Weights and activations in 8 bits, by onnxruntime's static quantization."""

from collections.abc import Iterable, Iterator, Sequence
from importlib import import_module
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from torch import Tensor

from fakd.models.onnx import INPUT, require_onnx, require_onnxruntime

QUANTIZED = ("Conv", "Relu", "Clip")
"""Operators in 8 bits: convolutions, nearly all of the work, and what cuts off their results below 0 (and above 6), so
that the 8 bits are not spent on values that are cut off. docs/benchmarks/deploy.md has the figures of other choices."""


def quantize(source: Path, target: Path, images: Iterable[Tensor], operators: Sequence[str] | None = QUANTIZED) -> None:
    """Write a copy of an ONNX file whose convolutions and rectifiers compute in 8 bits.

    Weights are rounded per channel of the output, symmetric; activations per tensor, between the smallest and the
    largest value that the calibration images gave. The graph keeps float inputs and outputs, with pairs of
    QuantizeLinear and DequantizeLinear (QDQ) where onnxruntime, TensorRT or OpenVINO fuse them. Batch
    normalisations are folded first. The metadata is copied.

    Args:
        source: the float file.
        target: where to write.
        images: float RGB (B, 3, H, W) in [0, 1], of any sizes.
        operators: those that compute in 8 bits; None for all that onnxruntime can.
    """
    onnx, _ = require_onnx(), require_onnxruntime()
    tools: Any = import_module("onnxruntime.quantization")
    with TemporaryDirectory() as folder:
        prepared = Path(folder) / "prepared.onnx"
        # The graph's sizes are free, so there are no shapes to infer.
        tools.quant_pre_process(source, prepared, skip_symbolic_shape=True)
        tools.quantize_static(
            str(prepared),
            str(target),
            _Images(images),
            quant_format=tools.QuantFormat.QDQ,
            op_types_to_quantize=None if operators is None else list(operators),
            per_channel=True,
            activation_type=tools.QuantType.QUInt8,
            weight_type=tools.QuantType.QInt8,
            calibrate_method=tools.CalibrationMethod.MinMax,
        )
    notes = {entry.key: entry.value for entry in onnx.load(source).metadata_props}
    model = onnx.load(target)
    onnx.helper.set_model_props(model, notes | {"quantization": "int8"})
    onnx.save(model, target)


class _Images:
    """What onnxruntime reads calibration images from: a batch a call, and None at the end."""

    def __init__(self, images: Iterable[Tensor]) -> None:
        self.rest: Iterator[Tensor] = iter(images)

    def get_next(self) -> dict[str, Any] | None:
        """Return the next batch by the name of the graph's input."""
        images = next(self.rest, None)
        return None if images is None else {INPUT: images.numpy()}
