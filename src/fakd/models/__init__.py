"""Segmentation networks: encoders from timm, decode heads, and files that hold both.

>>> model = create_model("pspnet", backbone="resnet10t", num_classes=3)
>>> model.config.channels
128
"""

from collections.abc import Mapping
from typing import TypedDict

from fakd.models.checkpoint import load_model, save_model
from fakd.models.config import ModelConfig, default_aux_channels, default_channels
from fakd.models.encoder import BACKBONES, Encoder
from fakd.models.segmentor import HEADS, Segmentor
from fakd.models.tap import ClassifierTap
from fakd.models.weights import load_backbone_weights

__all__ = [
    "BACKBONES",
    "HEADS",
    "PRESETS",
    "ClassifierTap",
    "ModelConfig",
    "Segmentor",
    "create_model",
    "load_model",
    "save_model",
]


class Preset(TypedDict):
    """The settings of a network of the paper."""

    head: str
    backbone: str
    channels: int
    aux_channels: int


PRESETS: Mapping[str, Preset] = {
    "pspnet-r101": {"head": "pspnet", "backbone": "resnet101_v1c", "channels": 512, "aux_channels": 256},
    "pspnet-r18": {"head": "pspnet", "backbone": "resnet18_v1c", "channels": 128, "aux_channels": 64},
}
"""Network name -> its settings, as MMSegmentation builds it."""


def create_model(
    name: str,
    *,
    backbone: str | None = None,
    num_classes: int,
    output_stride: int = 8,
    channels: int | None = None,
    dropout: float = 0.1,
    aux: bool = True,
    backbone_weights: str | None = None,
) -> Segmentor:
    """Build a segmentation network.

    Args:
        name: a preset ("pspnet-r18"), a head ("pspnet", with `backbone`), or both at once as on the command line
            ("pspnet/efficientnet_lite0").
        backbone: a key of `BACKBONES` or any timm name whose strides can be traded for dilation.
        num_classes: C.
        output_stride: image pixels per cell of the encoder's last map: 8, 16 or 32.
        channels: A, the width of the head; None is the preset's, or 512 after a last stage of at least 1024
            channels and 128 after a narrower one.
        dropout: probability of dropping a whole channel before each classifier.
        aux: whether to add an auxiliary head on the second to last stage, which only runs in training.
        backbone_weights: None for random weights; "imagenet" for published ones; or the path of a .pth or
            .safetensors file with timm's names.

    Returns:
        The network in training mode, on the CPU.

    Raises:
        ValueError: a name is unknown, names contradict each other, or the weights do not fit.
        FileNotFoundError: there is no file of weights at that path.
        ConnectionError: ImageNet weights could not be downloaded.
    """
    preset = PRESETS.get(name)
    if preset is not None:
        if backbone is not None and backbone != preset["backbone"]:
            raise ValueError(
                f"{name!r} is a preset with backbone {preset['backbone']!r}, but backbone={backbone!r} was given; "
                f'for another backbone use "{preset["head"]}/{backbone}"'
            )
        head, backbone = preset["head"], preset["backbone"]
    else:
        head, backbone = _split(name, backbone)
    # Checks the cheap settings before an encoder is built.
    config = ModelConfig(head, backbone, num_classes, output_stride, channels, dropout)
    encoder = Encoder(backbone, output_stride)
    if preset is not None:
        channels, aux_channels = channels or preset["channels"], preset["aux_channels"]
    else:
        channels = channels or default_channels(encoder.channels[-1])
        aux_channels = default_aux_channels(encoder.channels[-2])
    config = ModelConfig(head, backbone, num_classes, output_stride, channels, dropout, aux_channels if aux else None)
    if backbone_weights is not None:
        load_backbone_weights(encoder, backbone, backbone_weights)
    return Segmentor(config, encoder)


def _split(name: str, backbone: str | None) -> tuple[str, str]:
    head, slash, named = name.partition("/")
    valid = f'valid presets: {", ".join(PRESETS)}; valid heads: {", ".join(HEADS)}, as "HEAD/BACKBONE"'
    if head not in HEADS:
        raise ValueError(f"unknown network {name!r}; {valid}")
    if slash and backbone is not None and named != backbone:
        raise ValueError(f"{name!r} already names a backbone, but backbone={backbone!r} was given")
    backbone = named if slash else backbone
    if not backbone:
        raise ValueError(f'{name!r} needs a backbone, e.g. "{head}/resnet18_v1c" or backbone=...; {valid}')
    return head, backbone
