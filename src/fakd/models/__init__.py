"""Segmentation networks: encoders from timm, decode heads, and files that hold both.

>>> model = create_model("pspnet", backbone="resnet10t", num_classes=3)
>>> model.config.channels
128
"""

from dataclasses import replace

from fakd.models.backbone_weights import load_backbone_weights
from fakd.models.by_name import copy_weights, open_any, open_model
from fakd.models.config import ModelConfig, default_aux_channels
from fakd.models.encoder import BACKBONES, Encoder
from fakd.models.foreign import ForeignConfig, ForeignSegmentor, create_foreign, is_foreign
from fakd.models.mmseg.checkpoint import load_mmseg, save_mmseg
from fakd.models.network import Network, load_model, save_model
from fakd.models.onnx import OnnxNetwork, open_onnx
from fakd.models.presets import PRESETS
from fakd.models.segmentor import HEADS, Segmentor
from fakd.models.tap import ClassifierTap

__all__ = [
    "BACKBONES",
    "HEADS",
    "PRESETS",
    "ClassifierTap",
    "ForeignConfig",
    "ForeignSegmentor",
    "ModelConfig",
    "Network",
    "OnnxNetwork",
    "Segmentor",
    "copy_weights",
    "create_model",
    "load_mmseg",
    "load_model",
    "open_any",
    "open_model",
    "open_onnx",
    "save_mmseg",
    "save_model",
]


def create_model(
    name: str,
    *,
    backbone: str | None = None,
    num_classes: int,
    output_stride: int | None = None,
    channels: int | None = None,
    dropout: float | None = None,
    aux: bool = True,
    backbone_weights: str | None = None,
) -> Network:
    """Build a segmentation network.

    Args:
        name: a preset ("pspnet-r18"), a head ("pspnet", with `backbone`), or both at once as on the command line
            ("pspnet/efficientnet_lite0"); or a network that another library builds: "torchvision:fcn_resnet50",
            "smp:unet/mobilenet_v2", or "hf:FOLDER" with a config.json of transformers.
        backbone: a key of `BACKBONES` or any timm name whose strides can be traded for dilation.
        num_classes: C.
        output_stride: image pixels per cell of the encoder's last map: 8, 16 or 32. None is the head's own: 8, but
            32 for "fcn-concat", which takes its detail from earlier maps.
        channels: A, the width of the head; None is the preset's, or the head's own: the sum of the stages' channels
            for "fcn-concat", else 512 after a last stage of at least 1024 channels and 128 after a narrower one.
        dropout: probability of dropping a whole channel before each classifier; None is the head's own: 0.1, but 0
            for "fcn-concat".
        aux: whether to add an auxiliary head on the second to last stage, which only runs in training. The
            "fcn-concat" head has none in any case, as it reads every stage itself.
        backbone_weights: None for random weights; "imagenet" for published ones; or the path or URL of a .pth or
            .safetensors file with timm's or OpenMMLab's names. For other libraries' networks, see `create_foreign`.

    Returns:
        The network in training mode, on the CPU.

    Raises:
        ValueError: a name is unknown, names contradict each other, the weights do not fit, or an option is not for
            this network.
        FileNotFoundError: there is no file of weights at that path.
        ConnectionError: ImageNet weights could not be downloaded.
        ModuleNotFoundError: the other library is not installed.
    """
    if is_foreign(name):
        own = {"backbone": backbone, "output_stride": output_stride, "channels": channels, "dropout": dropout}
        if given := [option for option, value in own.items() if value is not None]:
            raise ValueError(f"{', '.join(given)} cannot change {name}, which another library builds: leave it out.")
        return create_foreign(name, num_classes, aux=aux, backbone_weights=backbone_weights)
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
    kind = HEADS[head]
    output_stride = kind.default_output_stride if output_stride is None else output_stride
    dropout = kind.default_dropout if dropout is None else dropout
    # Checks the cheap settings before an encoder is built.
    config = ModelConfig(head, backbone, num_classes, output_stride, channels, dropout)
    encoder = Encoder(backbone, output_stride)
    if preset is not None:
        channels, aux_channels = channels or preset["channels"], preset["aux_channels"]
    else:
        channels = channels or kind.default_channels(encoder.channels)
        aux_channels = default_aux_channels(encoder.channels[-2]) if kind.default_aux else None
    config = replace(config, channels=channels, aux_channels=aux_channels if aux else None)
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
