"""The eight networks of the paper."""

from collections.abc import Mapping
from typing import TypedDict

from fakd.models.segmentor import HEADS, ModelConfig


class Preset(TypedDict):
    """The settings of a network of the paper; the rest is its head's defaults."""

    head: str
    backbone: str
    channels: int
    aux_channels: int | None


PRESETS: Mapping[str, Preset] = {
    "pspnet-r101": {"head": "pspnet", "backbone": "resnet101_v1c", "channels": 512, "aux_channels": 256},
    "pspnet-r18": {"head": "pspnet", "backbone": "resnet18_v1c", "channels": 128, "aux_channels": 64},
    "hrnet-w48": {"head": "fcn-concat", "backbone": "hrnetv2_w48", "channels": 720, "aux_channels": None},
    "hrnet-w18s": {"head": "fcn-concat", "backbone": "hrnetv2_w18_small", "channels": 270, "aux_channels": None},
    "deeplabv3plus-r101": {"head": "deeplabv3plus", "backbone": "resnet101_v1c", "channels": 512, "aux_channels": 256},
    "deeplabv3plus-mv2": {"head": "deeplabv3plus", "backbone": "mobilenetv2", "channels": 512, "aux_channels": 256},
    "isanet-r101": {"head": "isanet", "backbone": "resnet101_v1c", "channels": 512, "aux_channels": 256},
    "isanet-r18": {"head": "isanet", "backbone": "resnet18_v1c", "channels": 128, "aux_channels": 64},
}
"""Network name -> its settings, as MMSegmentation builds it."""


def preset_config(name: str, num_classes: int, *, aux: bool = True) -> ModelConfig:
    """Return the architecture of a preset as MMSegmentation builds it, with or without its auxiliary head."""
    preset = PRESETS[name]
    head = HEADS[preset["head"]]
    return ModelConfig(
        preset["head"],
        preset["backbone"],
        num_classes,
        head.default_output_stride,
        preset["channels"],
        head.default_dropout,
        preset["aux_channels"] if aux else None,
    )
