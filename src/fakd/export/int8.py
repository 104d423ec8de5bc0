"""Networks of eight bits: calibrated, written, and scored."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Protocol

import torch
from rich.table import Column, Table
from torch import Tensor

from fakd.console import console, progress
from fakd.data import read_image
from fakd.data.batches import SegmentationData
from fakd.data.class_names import Classes, class_order
from fakd.evaluation.evaluate import DataOptions, evaluate_model, validation_data
from fakd.evaluation.images import find_sources
from fakd.evaluation.inference import Inference, to_float_images
from fakd.evaluation.scores import scores_from_confusion
from fakd.models.merged_teacher import MergedTeacher
from fakd.models.onnx import INPUT, OnnxNetwork, require_onnx, require_onnxruntime


class Options(DataOptions, Protocol):
    """What of the command's options says which images are read."""

    checkpoint: str
    output: Path
    calibration: Path | None
    calibration_images: int


@dataclass(frozen=True)
class Calibration:
    """The images that ranges are taken from, and those that both files are scored on."""

    data: SegmentationData
    """Training images, if no folder is given; and the validation split."""
    files: tuple[Path, ...]
    """Images of the user's folder, or none."""
    count: int
    """How many images ranges are taken from, at most."""
    order: list[int] | None = None
    """For each class of the data set the network's, where their order is another."""

    @classmethod
    def of(cls, options: Options, num_classes: int, notes: Mapping[str, str]) -> "Calibration":
        """Find the images that the command's options name.

        Raises:
            ValueError: no data set is named, or it has other classes than the network.
            FileNotFoundError: the folder has no image.
            DataError: the data set is not as it should be.
        """
        data = validation_data(options.checkpoint, notes, options)
        theirs, ours = Classes.of_network(num_classes, notes), Classes.of_dataset(data.spec)
        advice = "Name by --dataset the one that the network was trained on."
        order = class_order(options.checkpoint, theirs, data.spec.name, ours, advice)
        found = [] if options.calibration is None else find_sources([options.calibration], options.output)
        data.source("val").check()
        return cls(data, tuple(source.path for source in found), options.calibration_images, order)

    def images(self) -> Iterator[Tensor]:
        """Return float images (1, 3, H, W), as the network is shown them, evenly spread over all there are."""
        if self.files:
            for index in _spread(len(self.files), self.count):
                yield to_float_images(self.data.eval_transform.fit(read_image(self.files[index])).unsqueeze(0))
        else:
            for batch in self.data.whole_images(_spread(len(self.data.source("train")), self.count)):
                yield to_float_images(batch.image)


def write_int8(source: Path, target: Path, calibration: Calibration) -> dict[str, Any]:
    """Write the file in 8 bits, score both, and print what changed.

    Returns:
        miou (before, after), in percent, and bytes (before, after).
    """
    quantize(source, target, calibration.images())
    paths = {"float32": source, "int8": target}
    miou = {kind: score_file(path, calibration) for kind, path in paths.items()}
    size = {kind: path.stat().st_size for kind, path in paths.items()}
    spec = calibration.data.spec
    numbers = (Column(name, justify="right") for name in ("mIoU %", "MB"))
    table = Table("", *numbers, title=f"{spec.name}, {len(calibration.data.source('val'))} validation images")
    for kind in paths:
        table.add_row(kind, f"{miou[kind]:.2f}", f"{size[kind] / 1e6:.1f}")
    table.add_section()
    table.add_row("change", f"{miou['int8'] - miou['float32']:+.2f}", f"x {size['int8'] / size['float32']:.2f}")
    console.print(table)
    return {"miou": miou, "bytes": size}


def score_file(path: Path, calibration: Calibration) -> float:
    """Return the mIoU of an ONNX file on the validation split, in percent."""
    data, network = calibration.data, OnnxNetwork(path)
    inference = Inference(None if network.gives_labels else data.spec.window)
    with progress("images") as bar, torch.no_grad():
        task = bar.add_task("scoring", total=len(data.source("val")), note="")
        matrix = evaluate_model(
            network if calibration.order is None else MergedTeacher(network, [[index] for index in calibration.order]),
            data.val_dataloader(),
            data.spec.num_classes,
            inference=inference,
            on_image=lambda count: bar.advance(task, count),
        )
    return scores_from_confusion(matrix, data.spec.classes).mIoU


def _spread(length: int, count: int) -> list[int]:
    """Return `count` indices, or all there are, evenly spread."""
    count = min(length, count)
    return [index * length // count for index in range(count)]


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
