"""Networks of torchvision, segmentation_models_pytorch and Hugging Face's transformers, as teachers and students."""

from dataclasses import replace
from pathlib import Path
from types import ModuleType

import torch

from fakd.models.foreign import from_hf, from_smp, from_torchvision
from fakd.models.foreign.config import ForeignConfig, Found
from fakd.models.foreign.name import ForeignName, is_foreign
from fakd.models.foreign.segmentor import ForeignSegmentor
from fakd.models.weights_file import listed, mismatches

_SOURCES: dict[str, ModuleType] = {"torchvision": from_torchvision, "smp": from_smp, "hf": from_hf}


def create_foreign(
    name: str, num_classes: int, *, aux: bool = True, backbone_weights: str | None = None
) -> ForeignSegmentor:
    """Build a network of another library to be trained.

    Args:
        name: as "smp:unet/mobilenet_v2", "torchvision:fcn_resnet50", or "hf:FOLDER" for what its config.json describes;
            "@PATH" behind it names the classifier.
        num_classes: C.
        aux: whether to have the auxiliary head, where the library has one for it.
        backbone_weights: None for random weights; "imagenet" for the library's; or a file with the names of the
            encoder, for "hf" a folder of transformers.

    Returns:
        The network in training mode, on the CPU.

    Raises:
        ValueError: there is no such network, or the weights do not fit.
        ModuleNotFoundError: the library is not installed.
        OSError: there is no such folder or file, or weights could not be downloaded.
    """
    asked = ForeignName.parse(name)
    if asked.weights is not None:
        raise ValueError(
            f"{name} names trained weights, but a network to be trained starts from scratch: leave out "
            f"={asked.weights}, and to start from them give --init {name}"
        )
    source = _SOURCES[asked.library]
    config = replace(source.create(asked.network, num_classes, aux).config, classifier=asked.classifier)
    network = ForeignSegmentor(config)
    if backbone_weights is not None:
        _load_encoder(network, source, backbone_weights)
    return network.train()


def open_foreign(name: str) -> tuple[ForeignSegmentor, dict[str, str]]:
    """Load a trained network of another library; `fakd.models.open_model` says how they are named."""
    asked = ForeignName.parse(name)
    weights = None if asked.weights is None else Path(asked.weights)
    found: Found = _SOURCES[asked.library].open_trained(asked.network, weights)
    assert found.state is not None
    # The random weights drawn here are overwritten at once; they must not shift the caller's random numbers.
    with torch.random.fork_rng(devices=[]):
        network = ForeignSegmentor(replace(found.config, classifier=asked.classifier))
    own = network.model.state_dict()
    counters = {key: value for key, value in own.items() if key.endswith("num_batches_tracked")}
    state = counters | dict(found.state)
    if problems := mismatches(own, state):
        raise ValueError(f"the weights do not fit {asked.library}:{asked.network}:{listed(problems)}")
    network.model.load_state_dict(state)
    return network.eval(), dict(found.notes)


def published_classes(name: str) -> int | None:
    """How many classes a network scores that would have to be downloaded; None for all others.

    Raises:
        ValueError: torchvision has no such network.
    """
    if not is_foreign(name):
        return None
    asked = ForeignName.parse(name)
    if asked.library != "torchvision" or asked.weights is not None:
        return None
    return len(from_torchvision.published(asked.network).meta["categories"])


def _load_encoder(network: ForeignSegmentor, source: ModuleType, weights: str) -> None:
    state = network.model.state_dict()
    own = {key: state[key] for key in source.encoder_names(network.config, state)}
    counters = {key: value for key, value in own.items() if key.endswith("num_batches_tracked")}
    found = counters | source.encoder_weights(network.config, weights)
    if problems := mismatches(own, found):
        raise ValueError(
            f"the {weights!r} weights do not fit the encoder of {network.config.library}:{network.config.name}:"
            f"{listed(problems)}"
        )
    network.model.load_state_dict(state | found)


__all__ = [
    "ForeignConfig",
    "ForeignName",
    "ForeignSegmentor",
    "create_foreign",
    "is_foreign",
    "open_foreign",
    "published_classes",
]
