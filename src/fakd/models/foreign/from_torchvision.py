"""torchvision's segmentation networks, and the weights that it publishes."""

import inspect
import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from torchvision.models import get_model, get_model_builder, get_model_weights

from fakd.console import did_you_mean, say
from fakd.files.download import cache_folder
from fakd.models.foreign.config import Anatomy, ForeignConfig, Found
from fakd.models.weights_file import downloaded, read_weights

NETWORKS: Mapping[str, tuple[str, ...]] = {
    "fcn_resnet50": ("classifier.4",),
    "fcn_resnet101": ("classifier.4",),
    "deeplabv3_resnet50": ("classifier.4",),
    "deeplabv3_resnet101": ("classifier.4",),
    "deeplabv3_mobilenet_v3_large": ("classifier.4",),
    "lraspp_mobilenet_v3_large": ("classifier.low_classifier", "classifier.high_classifier"),
}
"""Name -> where its classifier is; LR-ASPP adds the scores of two."""

_AUX = "aux_classifier"
_IN_CLASSIFICATION = "features."
"""What names begin with in the classification networks of some backbones."""


def build(config: ForeignConfig) -> Anatomy:
    """Build a network with random weights."""
    _check(config.name)
    aux = {"aux_loss": True} if config.aux else {}
    module = get_model(config.name, weights=None, weights_backbone=None, num_classes=config.num_classes, **aux)
    return Anatomy(module, NETWORKS[config.name], _AUX if config.aux else None)


def create(name: str, num_classes: int, aux: bool) -> Found:
    """A network to be trained."""
    _check(name)
    can_have_aux = "lraspp" not in name
    return Found(ForeignConfig("torchvision", name, num_classes, aux=aux and can_have_aux))


def open_trained(name: str, weights: Path | None) -> Found:
    """The network that torchvision publishes, or the user's own weights of it.

    Raises:
        ValueError: there is no such network, or the file does not hold weights of it.
        DownloadError: it could not be downloaded.
    """
    _check(name)
    if weights is not None:
        state = read_weights(weights)
        return Found(ForeignConfig("torchvision", name, _classes(name, state, weights), aux=_has_aux(state)), state)
    weights_there = published(name)
    say(
        f"weights   torchvision's {name}, {weights_there.name} (images of COCO, classes of Pascal VOC), "
        f"{weights_there.meta['_file_size']:.0f} MB where they are not in {cache_folder()} yet"
    )
    state = read_weights(downloaded(weights_there.url))
    classes = weights_there.meta["categories"]
    config = ForeignConfig("torchvision", name, len(classes), aux=_has_aux(state))
    return Found(config, state, {"classes": json.dumps(classes)})


def published(name: str) -> Any:
    """torchvision's entry of the weights that it publishes.

    Raises:
        ValueError: there is no such network.
    """
    _check(name)
    return get_model_weights(name)["COCO_WITH_VOC_LABELS_V1"]


def encoder_weights(config: ForeignConfig, source: str) -> dict[str, Any]:
    """The weights of the encoder, under the names of the whole network.

    Args:
        config: the network.
        source: "imagenet" for torchvision's, or a file with the names of torchvision's classification network.

    Raises:
        DownloadError: they could not be downloaded.
        ValueError: the file cannot be read.
    """
    theirs = inspect.signature(get_model_builder(config.name)).parameters["weights_backbone"].default
    state = read_weights(downloaded(theirs.url) if source == "imagenet" else Path(source))
    return {
        f"backbone.{name.removeprefix(_IN_CLASSIFICATION)}": tensor
        for name, tensor in state.items()
        if not name.startswith(("fc.", "classifier."))
    }


def encoder_names(names: Iterable[str]) -> list[str]:
    """Those entries' names that belong to the encoder."""
    return [name for name in names if name.startswith("backbone.")]


def _classes(name: str, state: Mapping[str, Any], path: Path) -> int:
    weight = state.get(f"{NETWORKS[name][0]}.weight")
    if weight is None:
        raise ValueError(f"{path} holds no weights of torchvision's {name}: it has no {NETWORKS[name][0]}.weight")
    return len(weight)


def _has_aux(state: Mapping[str, Any]) -> bool:
    return any(key.startswith(f"{_AUX}.") for key in state)


def _check(name: str) -> None:
    if name not in NETWORKS:
        meant = did_you_mean(name, NETWORKS)
        raise ValueError(f"torchvision has no segmentation network {name!r}; it has {', '.join(NETWORKS)}.{meant}")
