"""The command that writes a trained network for other programs."""

import json
from collections.abc import Mapping
from copy import deepcopy
from dataclasses import KW_ONLY, asdict, dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
from torch import Tensor

from fakd import __version__
from fakd.console import say
from fakd.data import get_dataset
from fakd.data.class_names import notes_of_dataset
from fakd.evaluation.predictor import base_size_in
from fakd.export.int8 import Calibration, write_int8
from fakd.export.onnx_check import check_graph, print_checks, require_equal
from fakd.export.onnx_graph import Deployed, Exporter, write_graph
from fakd.files.atomic import check_free, written_at_once
from fakd.models import load_model, open_model, save_model
from fakd.models.network import Network
from fakd.models.onnx import SUFFIX, VERSION_KEY, require_onnx, require_onnxruntime
from fakd.options import Output, Size, check_least


@dataclass
class ExportConfig:
    """Write a trained network for other programs: ONNX, checked at once against PyTorch, or safetensors."""

    checkpoint: str
    """Trained network: a run folder, a .safetensors file, a .pth checkpoint of MMSegmentation, mmseg:NAME, toy-scenes,
    which comes with the package, or one of another library, as torchvision:NAME, smp:FOLDER or hf:NAME."""
    output: Output
    """File to write: .onnx, or .safetensors for the weights alone, without the auxiliary head."""
    _: KW_ONLY
    upsample: bool = False
    """Whether scores are enlarged to the image's own size inside the ONNX graph."""
    argmax: bool = False
    """Whether the ONNX graph gives labels (B, H, W) of the image's own size instead of scores."""
    opset: int = 18
    """Version of ONNX's operators."""
    exporter: Exporter = "torchscript"
    """PyTorch's exporter: torchscript follows one run of the network; dynamo is newer, and far slower."""
    int8: bool = False
    """Whether convolutions compute in 8 bits; the mIoU before and after is measured on the validation split."""
    calibration: Path | None = None
    """Folder of images that the ranges of the 8 bits are taken from; by default the training split."""
    calibration_images: int = 64
    """How many images of it, evenly spread."""
    dataset: str | None = None
    """Data set whose classes and colours to store, and that --int8 measures on; by default the network's own."""
    data_root: Path | None = None
    """Folder of the data set, for --int8."""
    base_size: Size | None = None
    """Height and width in pixels that images are fitted into, aspect kept, for --int8; by default as in training."""
    workers: int = 2
    """Loader processes, for --int8."""
    overwrite: bool = False
    """Replace the output if it exists."""


def export(config: ExportConfig) -> dict[str, Any]:
    """Write the file, try it, and say what was found; a file that fails is not kept.

    Returns:
        path, and for ONNX files checks (one dict a size, see `fakd.export.onnx_check.Check`), and with int8 the mIoU
        before and after in percent, and the sizes of both files in bytes.

    Raises:
        ModuleNotFoundError: onnx or onnxruntime is not installed.
        FileNotFoundError: there is no checkpoint.
        FileExistsError: the output exists.
        ValueError: options contradict each other, the network cannot be exported, or the file says something else.
        DataError: the data set that --int8 needs is not as it should be.
    """
    _check(config)
    model, notes = open_model(config.checkpoint)
    calibration = Calibration.of(config, model.num_classes, notes) if config.int8 else None
    notes = notes | _notes_of(config, model.num_classes, notes)
    if config.output.suffix != SUFFIX:
        return _write_safetensors(model, notes, config.output)
    deployed = Deployed(model.eval(), config.upsample, config.argmax)
    notes = _describe(model, deployed, notes)
    with written_at_once(config.output) as temporary, TemporaryDirectory() as folder:
        whole = temporary if calibration is None else Path(folder) / "float.onnx"
        write_graph(deployed, whole, notes, opset=config.opset, exporter=config.exporter)
        checks = check_graph(deployed, whole)
        print_checks(checks)
        require_equal(checks, config.output)
        found = {"path": str(config.output), "checks": [asdict(check) for check in checks]}
        if calibration is not None:
            found |= write_int8(whole, temporary, calibration)
    gives = "labels" if config.argmax else "scores at the image's size" if config.upsample else "scores"
    known = ", ".join(key for key in ("classes", "palette") if key in notes) or "no classes: name them with --dataset"
    say(f"written to {config.output}: {gives}, {known}; {config.output.stat().st_size / 1e6:.1f} MB")
    return found


def _check(config: ExportConfig) -> None:
    """Refuse what cannot work before anything is read."""
    if config.output.suffix not in (SUFFIX, ".safetensors"):
        raise ValueError(f"the output must end in .onnx or .safetensors, got {config.output}.")
    check_free(config.output, config.overwrite)
    if config.output.suffix == SUFFIX:
        require_onnx()
        require_onnxruntime()
    elif given := [name for name in ("upsample", "argmax", "int8") if getattr(config, name)]:
        raise ValueError(f"a .safetensors file holds weights alone: --{given[0]} needs an output that ends in .onnx.")
    if config.calibration is not None and not config.int8:
        raise ValueError("--calibration is for --int8: give both, or leave it out.")
    check_least(config, calibration_images=1)


def _notes_of(config: ExportConfig, num_classes: int, known: Mapping[str, str]) -> dict[str, str]:
    """What the named data set says; the size that training images were fitted into stays as it is."""
    if config.dataset is None:
        return {}
    base_size = config.base_size or base_size_in(known, config.checkpoint)
    spec = get_dataset(config.dataset, config.data_root)
    return notes_of_dataset(config.checkpoint, num_classes, known, spec, base_size)


def _describe(model: Network, deployed: Deployed, notes: Mapping[str, str]) -> dict[str, str]:
    """The notes, and what a program that has never heard of fakd must know."""
    size = "(B, H, W)" if deployed.argmax else "(B, C, H, W)" if deployed.upsample else "(B, C, h, w)"
    return {
        **notes,
        VERSION_KEY: __version__,
        "architecture": model.config.to_json(),
        "num_classes": str(model.num_classes),
        "mean": json.dumps(_numbers(model.mean)),
        "std": json.dumps(_numbers(model.std)),
        "input": f"float32 {_channels(model)} in [0, 1]; mean and std are taken into account inside",
        "output": f"uint8 class indices {size}" if deployed.argmax else f"float32 scores {size}, before softmax",
    }


def _channels(model: Network) -> str:
    return "RGB (B, 3, H, W)" if model.in_channels == 3 else f"bands (B, {model.in_channels}, H, W)"


def _numbers(colour: Tensor) -> list[float]:
    return [round(value, 7) for value in colour.flatten().tolist()]


def _write_safetensors(model: Network, notes: Mapping[str, str], path: Path) -> dict[str, Any]:
    network = deepcopy(model).eval()
    network.drop_aux()
    mean = {"mean": json.dumps(_numbers(model.mean)), "std": json.dumps(_numbers(model.std))}
    with written_at_once(path) as temporary:
        save_model(network, temporary, {**notes, **mean, VERSION_KEY: __version__})
        images = torch.rand(1, model.in_channels, 65, 97)
        with torch.no_grad():
            if not torch.equal(load_model(temporary)[0](images).logits, network(images).logits):
                raise ValueError(f"{path} is not written: read back, the network gives other scores.")
    say(f"written to {path}: weights without the auxiliary head, {path.stat().st_size / 1e6:.1f} MB")
    return {"path": str(path)}
