"""The networks of segmentation_models_pytorch."""

from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import timm

from fakd.console import say
from fakd.models.foreign.config import Anatomy, ForeignConfig, Found, library, read_json
from fakd.models.weights_file import read_weights

_EXTRA = "smp"
_HALF = ((0.5,) * 3, (0.5,) * 3)
_DPN = ((124 / 255, 117 / 255, 104 / 255), (1 / (0.0167 * 255),) * 3)
# What the encoders' published weights expect where it is not ImageNet's mean and deviation; the library itself asks
# the network for it.
_NORMALISATION: Mapping[str, Any] = {
    "inceptionresnetv2": _HALF,
    "inceptionv4": _HALF,
    "xception": _HALF,
    "timm-tf_efficientnet_lite": _HALF,
    "dpn": _DPN,
}
_BUILT_HERE = {"encoder_name", "encoder_weights", "in_channels", "classes"}


def build(config: ForeignConfig) -> Anatomy:
    """Build a network with random weights.

    Raises:
        ValueError: the library has no such architecture or encoder, or they do not go together.
        ModuleNotFoundError: it is not installed.
    """
    smp = library("segmentation_models_pytorch", _EXTRA)
    architecture, encoder = _parts(smp, config.name)
    try:
        module = smp.create_model(
            architecture, encoder, encoder_weights=None, in_channels=3, classes=config.num_classes, **config.settings
        )
    except Exception as error:  # every encoder refuses what it cannot do in another way
        raise ValueError(f"segmentation_models_pytorch cannot build smp:{config.name} ({_reason(error)})") from error
    classifier = "segmentation_head.head.4" if architecture == "dpt" else "segmentation_head.0"
    multiple = module.encoder.output_stride if module.requires_divisible_input_shape else 1
    return Anatomy(module, (classifier,), multiple=multiple)


def create(name: str, num_classes: int, aux: bool) -> Found:
    """A network to be trained: ARCHITECTURE/ENCODER; there are no auxiliary heads."""
    smp = library("segmentation_models_pytorch", _EXTRA)
    architecture, encoder = _parts(smp, name)
    mean, std = _normalisation(encoder)
    return Found(ForeignConfig("smp", f"{architecture}/{encoder}", num_classes, mean=mean, std=std))


def open_trained(name: str, weights: Path | None) -> Found:
    """A folder that the library's save_pretrained wrote, or the user's own weights of ARCHITECTURE/ENCODER.

    Raises:
        FileNotFoundError: there is no such folder or file.
        ValueError: it does not hold such a network.
    """
    if weights is not None:
        found = create(name, 1, aux=False)
        state = read_weights(weights)
        return Found(_with_classes(found.config, state, weights), state)
    folder = Path(name)
    if not folder.is_dir():
        raise FileNotFoundError(
            f"smp:{name} names no trained network: give a folder that save_pretrained wrote, as smp:FOLDER, or "
            "your own file of weights, as smp:unet/resnet34=weights.safetensors"
        )
    described = read_json(folder / "config.json")
    if "_model_class" not in described or "encoder_name" not in described:
        raise ValueError(f"{folder} was not written by segmentation_models_pytorch's save_pretrained")
    if described.get("in_channels", 3) != 3:
        raise ValueError(f"{folder} takes images of {described['in_channels']} channels, expected 3 (RGB)")
    found = create(f"{described['_model_class']}/{described['encoder_name']}", described.get("classes", 1), aux=False)
    settings = {key: value for key, value in described.items() if key[0] != "_" and key not in _BUILT_HERE}
    return Found(replace(found.config, settings=settings), read_weights(folder / "model.safetensors"))


def encoder_weights(config: ForeignConfig, source: str) -> dict[str, Any]:
    """The weights of the encoder, under the names of the whole network.

    Args:
        config: the network.
        source: "imagenet" for those that the library downloads, or a file with the encoder's names.

    Raises:
        ValueError: there are none, or the file cannot be read.
        ConnectionError: they could not be downloaded.
    """
    smp = library("segmentation_models_pytorch", _EXTRA)
    if source != "imagenet":
        return {f"encoder.{key.removeprefix('encoder.')}": value for key, value in read_weights(Path(source)).items()}
    _, encoder = _parts(smp, config.name)
    published = smp.encoders.encoders.get(encoder, {}).get("pretrained_settings", {})
    if not encoder.startswith("tu-") and "imagenet" not in published:
        raise ValueError(f"segmentation_models_pytorch has no ImageNet weights for {encoder}: leave them out.")
    say(f"weights   smp's {encoder}, which segmentation_models_pytorch downloads where its cache has none")
    try:
        state = smp.encoders.get_encoder(encoder, weights="imagenet").state_dict()
    except Exception as error:  # every transport has errors of its own
        raise ConnectionError(
            f"the ImageNet weights of smp's encoder {encoder} could not be downloaded ({_reason(error)}). Without a "
            "network connection give a file with --backbone-weights PATH, or leave them out."
        ) from error
    return {f"encoder.{key}": tensor for key, tensor in state.items()}


def encoder_names(names: Iterable[str]) -> list[str]:
    """Those entries' names that belong to the encoder."""
    return [name for name in names if name.startswith("encoder.")]


def _parts(smp: Any, name: str) -> tuple[str, str]:
    """Architecture and encoder of "unet/mobilenet_v2"."""
    architecture, _, encoder = name.partition("/")
    architectures = smp.MODEL_ARCHITECTURES_MAPPING
    if architecture.lower() not in architectures or not encoder:
        raise ValueError(
            f"{name!r} is no network of segmentation_models_pytorch; expected ARCHITECTURE/ENCODER as "
            f"unet/mobilenet_v2, with one of the architectures {', '.join(architectures)}, or a folder that "
            "save_pretrained wrote"
        )
    return architecture.lower(), encoder


def _normalisation(encoder: str) -> tuple[tuple[float, ...], tuple[float, ...]]:
    if encoder.startswith("tu-") and (cfg := timm.get_pretrained_cfg(encoder[3:])) is not None:
        return tuple(cfg.mean), tuple(cfg.std)
    mean, std = next(
        (value for start, value in _NORMALISATION.items() if encoder.startswith(start)),
        (ForeignConfig.mean, ForeignConfig.std),
    )
    return mean, std


def _with_classes(config: ForeignConfig, state: Mapping[str, Any], path: Path) -> ForeignConfig:
    anatomy = build(config)
    assert anatomy.classifier is not None
    weight = state.get(f"{anatomy.classifier[0]}.weight")
    if weight is None:
        raise ValueError(f"{path} holds no weights of smp:{config.name}: it has no {anatomy.classifier[0]}.weight")
    return replace(config, num_classes=len(weight))


def _reason(error: Exception) -> str:
    return " ".join(str(error).split()) or type(error).__name__
