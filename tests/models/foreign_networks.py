"""Small networks of other libraries with random weights, as folders and names that users would give."""

from functools import cache
from pathlib import Path
from tempfile import mkdtemp
from typing import Any

CLASSES = 6

BUILT = [
    "smp:unet/mobilenet_v2",
    "smp:pspnet/mobilenet_v2",
    "smp:deeplabv3plus/mobilenet_v2",
    "smp:segformer/mit_b0",
    "torchvision:fcn_resnet50",
    "torchvision:deeplabv3_resnet50",
    "torchvision:lraspp_mobilenet_v3_large",
]
FOLDERS = ["hf:segformer", "hf:upernet", "hf:mobilenet_v2"]
NAMES = [*BUILT, *FOLDERS]


def _hf_config(kind: str, classes: int) -> Any:
    import transformers

    stages = {"hidden_sizes": [8, 16, 24, 32], "depths": [1, 1, 1, 1]}
    if kind == "segformer":
        heads = [1, 1, 2, 2]
        return transformers.SegformerConfig(
            num_labels=classes, decoder_hidden_size=16, num_attention_heads=heads, **stages
        )
    if kind == "mobilenet_v2":
        return transformers.MobileNetV2Config(num_labels=classes, depth_multiplier=0.25)
    backbone = transformers.ConvNextConfig(out_features=["stage1", "stage2", "stage3", "stage4"], **stages)
    return transformers.UperNetConfig(
        num_labels=classes, hidden_size=16, auxiliary_channels=8, backbone_config=backbone
    )


def hf_network(kind: str, classes: int = CLASSES) -> Any:
    """The real class of transformers, small, with random weights."""
    import transformers

    config = _hf_config(kind, classes)
    names = {"segformer": "Segformer", "upernet": "UperNet", "mobilenet_v2": "MobileNetV2"}
    return getattr(transformers, f"{names[kind]}ForSemanticSegmentation")(config)


@cache
def hf_folder(kind: str) -> Path:
    """A folder that transformers wrote, with the image processor of its type."""
    import transformers

    folder = Path(mkdtemp(prefix=f"fakd-{kind}-"))
    hf_network(kind).save_pretrained(folder)
    half = [0.5] * 3
    processor = (
        transformers.SegformerImageProcessor(image_mean=half, image_std=half)
        if kind == "mobilenet_v2"
        else transformers.SegformerImageProcessor()
    )
    processor.save_pretrained(folder)
    return folder


def name_of(name: str) -> str:
    """What a user would write: "hf:segformer" stands for a folder that is written here."""
    return f"hf:{hf_folder(name.removeprefix('hf:'))}" if name in FOLDERS else name
