"""The names that MMSegmentation gives to the entries of this project's networks.

One direction is written down, ours to theirs; the other is the same table read backwards, so a round trip loses
nothing. An entry's name is the path of its module and a last word (weight, bias, running_mean ...) that both share,
so only paths are listed.
"""

from collections.abc import Callable, Mapping

from torch import nn

from fakd.models.segmentor import Segmentor

Paths = dict[str, str]

OWN_ENTRIES = frozenset({"mean", "std"})
"""Entries of ours that MMSegmentation keeps in its configuration instead."""


def _conv_bn(ours: str, theirs: str) -> Paths:
    return {f"{ours}.0": f"{theirs}.conv", f"{ours}.1": f"{theirs}.bn"}


def _separable(ours: str, theirs: str) -> Paths:
    return _conv_bn(f"{ours}.0", f"{theirs}.depthwise_conv") | _conv_bn(f"{ours}.1", f"{theirs}.pointwise_conv")


def _psp() -> Paths:
    paths = _conv_bn("bottleneck", "bottleneck")
    for grid in range(4):
        paths |= _conv_bn(f"pools.{grid}.1", f"psp_modules.{grid}.1")
    return paths


def _aspp() -> Paths:
    paths = _conv_bn("image_pool.1", "image_pool.1") | _conv_bn("branches.0", "aspp_modules.0")
    for branch in (1, 2, 3):
        paths |= _separable(f"branches.{branch}", f"aspp_modules.{branch}")
    for step in (0, 1):
        paths |= _separable(f"refine.{step}", f"sep_bottleneck.{step}")
    return paths | _conv_bn("bottleneck", "bottleneck") | _conv_bn("low_level", "c1_bottleneck")


def _isa() -> Paths:
    paths = _conv_bn("in_conv", "in_conv") | _conv_bn("out_conv", "out_conv")
    for relation in ("global_relation", "local_relation"):
        for part in ("key", "query"):
            for step in (0, 1):
                paths |= _conv_bn(f"{relation}.{part}.{step}", f"{relation}.{part}_project.{step}")
        paths |= {f"{relation}.value": f"{relation}.value_project"}
        paths |= _conv_bn(f"{relation}.output", f"{relation}.output_project")
    return paths


_HEADS: Mapping[str, Paths] = {
    "pspnet": _psp(),
    "deeplabv3plus": _aspp(),
    "isanet": _isa(),
    "fcn-concat": _conv_bn("mix", "convs.0"),
}


def _resnet(body: nn.Module) -> Paths:
    stem = {f"conv1.{place}": f"stem.{place}" for place in range(7)} | {"bn1": "stem.7"}
    return {path: stem.get(path, path) for path, _ in body.named_modules()}


def _hrnet(body: nn.Module) -> Paths:
    return {path: path for path, _ in body.named_modules()}


def _mobilenet(body: nn.Module) -> Paths:
    paths = {"conv_stem": "conv1.conv", "bn1": "conv1.bn"}
    for path, block in body.named_modules():
        place = path.split(".")
        if place[0] == "blocks" and len(place) == 3:
            layer = f"layer{int(place[1]) + 1}.{place[2]}.conv"
            children = list(block.named_children())  # in the order in which they run
            convs = [name for name, child in children if isinstance(child, nn.Conv2d)]
            norms = [name for name, child in children if isinstance(child, nn.BatchNorm2d)]
            paths |= {f"{path}.{name}": f"{layer}.{i}.conv" for i, name in enumerate(convs)}
            paths |= {f"{path}.{name}": f"{layer}.{i}.bn" for i, name in enumerate(norms)}
    return paths


_BACKBONES: Mapping[str, Callable[[nn.Module], Paths]] = {
    "resnet18_v1c": _resnet,
    "resnet50_v1c": _resnet,
    "resnet101_v1c": _resnet,
    "hrnetv2_w18_small": _hrnet,
    "hrnetv2_w48": _hrnet,
    "mobilenetv2": _mobilenet,
}
SHARED_BACKBONES = tuple(_BACKBONES)
"""Keys of `fakd.models.BACKBONES` that OpenMMLab has too."""


def backbone_names(backbone: str, body: nn.Module) -> dict[str, str]:
    """Return our name -> OpenMMLab's name of every entry of an encoder, without "backbone." before it.

    Args:
        backbone: a key of `fakd.models.BACKBONES`.
        body: the `body` of its `Encoder`.

    Raises:
        ValueError: OpenMMLab has no such backbone.
    """
    return _entries(body, _backbone_paths(backbone, body))


def mmseg_names(model: Segmentor) -> dict[str, str]:
    """Return our name -> MMSegmentation's name of every entry but `OWN_ENTRIES`.

    Raises:
        ValueError: MMSegmentation has no such backbone or head.
    """
    backbone = _backbone_paths(model.config.backbone, model.encoder.body)
    paths = {f"encoder.body.{ours}": f"backbone.{theirs}" for ours, theirs in backbone.items()}
    if model.config.head not in _HEADS:
        raise ValueError(f"MMSegmentation has no such head {model.config.head!r}; it shares {', '.join(_HEADS)}")
    paths |= {f"head.{ours}": f"decode_head.{theirs}" for ours, theirs in _HEADS[model.config.head].items()}
    paths |= {"classifier": "decode_head.conv_seg", "aux_head.classifier": "auxiliary_head.conv_seg"}
    return _entries(model, paths | _conv_bn("aux_head.conv", "auxiliary_head.convs.0"))


def _backbone_paths(backbone: str, body: nn.Module) -> Paths:
    if backbone not in _BACKBONES:
        raise ValueError(
            f"MMSegmentation has no backbone {backbone!r}; those it shares are {', '.join(SHARED_BACKBONES)}"
        )
    return _BACKBONES[backbone](body)


def _entries(module: nn.Module, paths: Paths) -> dict[str, str]:
    names = {}
    for name in module.state_dict():
        if name not in OWN_ENTRIES:
            path, _, last = name.rpartition(".")
            names[name] = f"{paths[path]}.{last}"
    return names
