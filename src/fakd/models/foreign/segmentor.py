"""A network of another library, with the contract of this project's own: built anew, and opened."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from types import ModuleType

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from fakd.models.foreign import from_hf, from_smp, from_torchvision
from fakd.models.foreign.config import Anatomy, ForeignConfig, Found
from fakd.models.network import Network
from fakd.models.tap import ClassifierTap
from fakd.models.weights_file import listed, mismatches
from fakd.types import SegmentationOutput

LIBRARIES: Mapping[str, ModuleType] = {"torchvision": from_torchvision, "smp": from_smp, "hf": from_hf}
"""What stands before the colon of a name -> what builds such networks and reads their weights."""


class ForeignSegmentor(ClassifierTap, Network, built_from=ForeignConfig):
    """A network that another library builds, used as a `Segmentor` is.

    Images are float RGB (B, 3, H, W) in [0, 1] of any height and width: they are normalised here, and where the network
    asks for sides that divide by 32 (or another number), they are filled up at the right and the bottom with the mean
    colour, and the maps that come back are cropped to the image. `stages` is empty.

    Args:
        config: the architecture.

    Raises:
        ValueError: the library has no such network, or which of its convolutions is the classifier cannot be told.
        ModuleNotFoundError: the library is not installed.
    """

    config: ForeignConfig

    def __init__(self, config: ForeignConfig) -> None:
        if config.library not in LIBRARIES:
            raise ValueError(f"unknown library {config.library!r}; valid: {', '.join(LIBRARIES)}")
        anatomy: Anatomy = LIBRARIES[config.library].build(config)
        classifier = config.classifier or anatomy.classifier
        try:
            super().__init__(anatomy.module, config.num_classes, classifier, anatomy.aux, anatomy.features)
        except ValueError as error:
            raise ValueError(
                f"{config.library}:{config.name}: {error}. Name it by its path behind the network's name, as "
                f"{config.library}:NAME@PATH, or PATH+PATH for several that the network adds."
            ) from error
        self.config = config
        self.multiple = anatomy.multiple
        self.register_buffer("mean", torch.tensor(config.mean).view(1, 3, 1, 1))
        self.register_buffer("std", torch.tensor(config.std).view(1, 3, 1, 1))

    @property
    def aux_head(self) -> nn.Module | None:
        """The auxiliary head, which only counts in training."""
        return self.model.get_submodule(self.aux) if isinstance(self.aux, str) else None

    def encoder_names(self) -> list[str]:
        """Names of the encoder's parameters, in order."""
        names = [name for name, _ in self.model.named_parameters()]
        return [f"model.{name}" for name in LIBRARIES[self.config.library].encoder_names(self.config, names)]

    def drop_aux(self) -> None:
        """Take the auxiliary head away, as inference has no use for it."""
        if isinstance(self.aux, str):
            setattr(self.model, self.aux, None)
        self.aux = None
        self.config = replace(self.config, aux=False)

    def forward(self, images: Tensor) -> SegmentationOutput:
        """Score every class at every position of the network's own head.

        Args:
            images: (B, 3, H, W) float RGB in [0, 1], any H and W.

        Returns:
            logits (B, C, h, w), features (B, A, h, w), and in training mode the auxiliary head's scores if there is
            one; h = ceil(H / s) with s the stride of the head.

        Raises:
            ValueError: `images` is not a float tensor of three channels.
        """
        self.check_images(images)
        size = images.shape[-2:]
        images = (images - self.mean) / self.std
        images = images.flip(1) if self.config.bgr else images
        bottom, right = (-side % self.multiple for side in size)
        # an exported graph must do for images of other sizes too
        if not bottom and not right and not torch.onnx.is_in_onnx_export():
            return super().forward(images)
        padded = F.pad(images, (0, right, 0, bottom))
        output = super().forward(padded)
        aux = output.aux if output.aux is None else _cropped(output.aux, size, padded.shape[-2:])
        return SegmentationOutput(
            _cropped(output.logits, size, padded.shape[-2:]), _cropped(output.features, size, padded.shape[-2:]), aux
        )


def _cropped(maps: Tensor, size: torch.Size, padded: torch.Size) -> Tensor:
    """The part of (B, C, h, w) maps that shows `size` of the `padded` pixels."""
    sides = zip(maps.shape[-2:], size, padded, strict=True)
    height, width = ((cells * side + whole - 1) // whole for cells, side, whole in sides)  # rounded up
    return maps[..., :height, :width]


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
    network = ForeignSegmentor(replace(source.create(name, num_classes, aux).config, classifier=classifier))
    if backbone_weights is not None:
        _load_encoder(network, source, backbone_weights)
    return network.train()


def open_foreign(
    library: str, name: str, weights: str | None = None, classifier: tuple[str, ...] | None = None
) -> tuple[ForeignSegmentor, dict[str, str]]:
    """Load a trained network of another library; `fakd.models.open_model` says how they are named."""
    found: Found = LIBRARIES[library].open_trained(name, None if weights is None else Path(weights))
    assert found.state is not None
    # The random weights drawn here are overwritten at once; they must not shift the caller's random numbers.
    with torch.random.fork_rng(devices=[]):
        network = ForeignSegmentor(replace(found.config, classifier=classifier))
    network.model.load_state_dict(
        _fitting(network.model.state_dict(), found.state, f"weights do not fit {library}:{name}")
    )
    return network.eval(), dict(found.notes)


def _load_encoder(network: ForeignSegmentor, source: ModuleType, weights: str) -> None:
    state, config = network.model.state_dict(), network.config
    own = {key: state[key] for key in source.encoder_names(config, state)}
    what = f"{weights!r} weights do not fit the encoder of {config.network}"
    network.model.load_state_dict(state | _fitting(own, source.encoder_weights(config, weights), what))


def _fitting(own: Mapping[str, Tensor], found: Mapping[str, Tensor], what: str) -> dict[str, Tensor]:
    """The entries that were found, and the counters of batch normalisations, which some files lack."""
    counters = {key: value for key, value in own.items() if key.endswith("num_batches_tracked")}
    if problems := mismatches(own, counters | dict(found)):
        raise ValueError(f"the {what}:{listed(problems)}")
    return counters | dict(found)
