"""The names of encoders: any of timm's, and those that are built as OpenMMLab builds its own."""

import difflib
import operator
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import reduce
from typing import Any

import timm
from timm.models.hrnet import HighResolutionModule
from timm.models.resnet import BasicBlock
from torch import Tensor, nn

from fakd.models.heads.head import resize


def dilate_first_convolution_only(resnet: Any) -> None:
    """Let blocks of two 3x3 convolutions dilate only the first, in place; timm dilates both."""
    for module in resnet.modules():
        if isinstance(module, BasicBlock):
            _dilate(module.conv2, 1)


def dilate_first_block_only(mobilenet: Any) -> None:
    """Let a stage's first block take its whole dilation and the others none, in place.

    timm does the reverse: the first block keeps the dilation of the stage before, and the others have their own.
    """
    for stage in mobilenet.blocks:
        dilation = stage[-1].conv_dw.dilation[0]
        for block in stage:
            _dilate(block.conv_dw, dilation if block is stage[0] else 1)


def _dilate(conv: nn.Conv2d, dilation: int) -> None:
    conv.dilation = (dilation, dilation)
    conv.padding = tuple(dilation * (size // 2) for size in conv.kernel_size)


class BilinearFusion(HighResolutionModule):
    """A module of HRNet whose coarse branches are enlarged bilinearly and to the fine branch's actual size.

    timm enlarges by nearest neighbour and a power of two, as the classifier was trained, which fits only images
    whose sides are multiples of 32. Where a side is not, the benchmark enlarges by the power of two first and
    then to the size, so that is done here.
    """

    def forward(self, x: list[Tensor]) -> list[Tensor]:
        """Return the fused branches, fine to coarse, from branches of (B, channels, h, w)."""
        x = [branch(map_) for branch, map_ in zip(self.branches, x, strict=True)]
        if self.num_branches == 1:
            return x
        return [
            self.fuse_act(
                reduce(operator.add, (resize(path(source), target) for path, source in zip(paths, x, strict=True)))
            )
            for paths, target in zip(self.fuse_layers, x, strict=True)
        ]


def fuse_bilinearly(body: nn.Module) -> None:
    """Turn every fusion of a timm HRNet into a bilinear one, in place; weights stay as they are."""
    for module in body.modules():
        if isinstance(module, HighResolutionModule):
            # Rebuilding them would be a second copy of timm's construction; only the forward pass differs.
            module.__class__ = BilinearFusion
        elif isinstance(module, nn.Upsample):
            module.mode, module.align_corners = "bilinear", False


SUGGESTED = "resnet18, resnet50, resnet10t, efficientnet_lite0, mobilenetv2_100, mobilenetv3_small_050"
"""Some timm encoders that can be dilated, for error messages."""

_LITE_MEAN = (127 / 255,) * 3
_LITE_STD = (128 / 255,) * 3


@dataclass(frozen=True)
class Layout:
    """How a backbone name of this package is built with timm."""

    timm_name: str
    """The architecture's name in timm."""
    timm_settings: Mapping[str, Any] = field(default_factory=dict)
    """Arguments for `timm.create_model` that make it another network than timm's pretrained one."""
    feature_settings: Mapping[str, Any] = field(default_factory=dict)
    """Arguments that only choose which maps come out."""
    adapt: Callable[[nn.Module], None] | None = None
    """Changes what timm built, in place; names and shapes of the weights stay."""
    weights_url: str | None = None
    """Where ImageNet weights are published, if timm has none."""
    mean: tuple[float, ...] | None = None
    """RGB mean of the input in [0, 1]; None takes timm's."""
    std: tuple[float, ...] | None = None
    """RGB standard deviation of the input in [0, 1]; None takes timm's."""


_V1C: Any = {"adapt": dilate_first_convolution_only}
_V1C_WEIGHTS = "https://download.openmmlab.com/pretrain/third_party"
_HRNET: Any = {"feature_settings": {"feature_location": ""}, "adapt": fuse_bilinearly}

BACKBONES: Mapping[str, Layout] = {
    # ResNet-V1c: three 3x3 convolutions (32, 32, 64) in place of the 7x7 one, plain strided shortcuts.
    "resnet18_v1c": Layout(
        "resnet18",
        {"stem_type": "deep", "stem_width": 32},
        weights_url=f"{_V1C_WEIGHTS}/resnet18_v1c-b5776b93.pth",
        **_V1C,
    ),
    "resnet50_v1c": Layout("resnet50c", weights_url=f"{_V1C_WEIGHTS}/resnet50_v1c-2cccc1ad.pth", **_V1C),
    "resnet101_v1c": Layout("resnet101c", weights_url=f"{_V1C_WEIGHTS}/resnet101_v1c-e67eebb6.pth", **_V1C),
    # HRNetV2: the branches themselves, not the wider maps that timm's classifier makes of them.
    "hrnetv2_w18_small": Layout("hrnet_w18_small_v2", **_HRNET),
    "hrnetv2_w48": Layout("hrnet_w48", **_HRNET),
    "mobilenetv2": Layout("mobilenetv2_100", adapt=dilate_first_block_only),
    # The published weights of EfficientNet-Lite come from TensorFlow: its asymmetric padding of strided
    # convolutions and batch normalisation epsilon 1e-3 are timm's "tf_" variants; pixels are (x - 127) / 128.
    "efficientnet_lite0": Layout("tf_efficientnet_lite0", mean=_LITE_MEAN, std=_LITE_STD),
    "efficientnet_lite1": Layout("tf_efficientnet_lite1", mean=_LITE_MEAN, std=_LITE_STD),
    "efficientnet_lite2": Layout("tf_efficientnet_lite2", mean=_LITE_MEAN, std=_LITE_STD),
}
"""Backbone names of this package that are not built as timm builds that name; all other names are timm's."""


def layout_of(backbone: str) -> Layout:
    """Return how `backbone` is built.

    Raises:
        ValueError: neither this package nor timm has a backbone of that name.
    """
    if backbone in BACKBONES:
        return BACKBONES[backbone]
    if not timm.is_model(backbone.split(".")[0]):
        close = difflib.get_close_matches(backbone, [*BACKBONES, *timm.list_models()], n=5)
        raise ValueError(
            f"unknown backbone {backbone!r}; {'did you mean ' + ', '.join(close) if close else 'for example'} "
            f"(own layouts: {', '.join(BACKBONES)}; else any timm name such as {SUGGESTED})"
        )
    return Layout(backbone)
