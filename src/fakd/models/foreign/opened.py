"""Networks of other libraries by their names: built anew to be trained, opened as trained, rebuilt from a config."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from types import ModuleType

import torch
from torch import Tensor

from fakd.models.foreign.config import ForeignConfig, Found
from fakd.models.foreign.from_hf import type_of
from fakd.models.foreign.hf_scores import SCORES
from fakd.models.foreign.network import LIBRARIES, ForeignNetwork
from fakd.models.foreign.scorer import ForeignScorer
from fakd.models.foreign.segmentor import ForeignSegmentor
from fakd.models.network import Network
from fakd.models.weights_file import listed, mismatches


def foreign_network(config: ForeignConfig) -> ForeignNetwork:
    """Build what a config describes, with random weights.

    Raises:
        ValueError: the library has no such network, or which of its convolutions is the classifier cannot be told.
        ModuleNotFoundError: the library is not installed.
    """
    return ForeignScorer(config) if config.library == "hf" and config.name in SCORES else ForeignSegmentor(config)


Network.build_by(ForeignConfig, foreign_network)


def scores_alone(library: str, name: str) -> bool:
    """Whether a network gives scores and no features, by its settings alone; see `fakd.types.scores_alone`.

    Args:
        library: a key of `LIBRARIES`.
        name: of the network, as for `open_foreign`.

    Raises:
        ValueError: there is no such network.
        OSError: there is no such folder, or it could not be downloaded.
    """
    return library == "hf" and type_of(name) in SCORES


def create_foreign(
    library: str,
    name: str,
    num_classes: int,
    classifier: tuple[str, ...] | None = None,
    *,
    aux: bool = True,
    backbone_weights: str | None = None,
) -> ForeignSegmentor:
    """Build a network of another library to be trained.

    Args:
        library: a key of `LIBRARIES`.
        name: as "unet/mobilenet_v2", "fcn_resnet50", or a folder for what its config.json describes.
        num_classes: C.
        classifier: paths of its classifier; None for the library's usual place.
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
    source = LIBRARIES[library]
    config = replace(source.create(name, num_classes, aux).config, classifier=classifier)
    network = foreign_network(config)
    if not isinstance(network, ForeignSegmentor):
        raise ValueError(
            f"{library}:{name} is a {config.name}, which scores pixels without a classifier of them: it can teach, and "
            "cannot be trained here."
        )
    if backbone_weights is not None:
        _load_encoder(network, source, backbone_weights)
    return network.train()


def open_foreign(
    library: str, name: str, weights: str | None = None, classifier: tuple[str, ...] | None = None
) -> tuple[ForeignNetwork, dict[str, str]]:
    """Load a trained network of another library; `fakd.models.open_model` says how they are named."""
    found: Found = LIBRARIES[library].open_trained(name, None if weights is None else Path(weights))
    assert found.state is not None
    # The random weights drawn here are overwritten at once; they must not shift the caller's random numbers.
    with torch.random.fork_rng(devices=[]):
        network = foreign_network(replace(found.config, classifier=classifier))
    network.model.load_state_dict(
        _fitting(network.model.state_dict(), found.state, f"weights do not fit {library}:{name}")
    )
    return network.eval(), dict(found.notes)


def _load_encoder(network: ForeignSegmentor, source: ModuleType, weights: str) -> None:
    state, config = network.model.state_dict(), network.config
    own = {key: state[key] for key in source.encoder_names(state)}
    what = f"{weights!r} weights do not fit the encoder of {config.network}"
    network.model.load_state_dict(state | _fitting(own, source.encoder_weights(config, weights), what))


def _fitting(own: Mapping[str, Tensor], found: Mapping[str, Tensor], what: str) -> dict[str, Tensor]:
    """The entries that were found, and the counters of batch normalisations, which some files lack."""
    counters = {key: value for key, value in own.items() if key.endswith("num_batches_tracked")}
    if problems := mismatches(own, counters | dict(found)):
        raise ValueError(f"the {what}:{listed(problems)}")
    return counters | dict(found)
