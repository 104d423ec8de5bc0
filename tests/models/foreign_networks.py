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


SEMANTIC = [
    *("beit", "data2vec-vision", "dpt", "mobilenet_v2", "mobilevit", "mobilevitv2", "sapiens2", "segformer", "upernet")
]
"""Types of transformers' networks with a convolution that classifies pixels."""
MASKS = ["detr", "eomt", "eomt_dinov3", "mask2former", "maskformer", "oneformer"]
"""Types of those that draw masks and name them."""
SCORING = [*MASKS, "tipsv2_dpt"]
"""Types of those that have no such convolution."""
_VIT = {
    "hidden_size": 32,
    "num_hidden_layers": 4,
    "num_attention_heads": 2,
    "intermediate_size": 32,
    "image_size": 64,
    "patch_size": 16,
}


def hf_config(kind: str, classes: int = CLASSES) -> Any:
    """The config of a small network of a type."""
    import transformers as t

    labels = {"num_labels": classes}
    stages = {"hidden_sizes": [8, 16, 24, 32], "depths": [1, 1, 1, 1]}
    every = {"out_features": ["stage1", "stage2", "stage3", "stage4"]}
    swin = {"embed_dim": 8, "depths": [1, 1, 1, 1], "num_heads": [1, 1, 2, 2], "window_size": 4, "image_size": 64}
    small = {"hidden_dim": 32, "num_attention_heads": 2, "encoder_feedforward_dim": 16, "dim_feedforward": 16}
    uper = {"out_indices": [1, 2, 3, 4], "pool_scales": [1, 2], "auxiliary_channels": 8}
    dpt = {"neck_hidden_sizes": [8, 8, 8, 8], "fusion_hidden_size": 16}
    match kind:
        case "segformer":
            return t.SegformerConfig(decoder_hidden_size=16, num_attention_heads=[1, 1, 2, 2], **stages, **labels)
        case "mobilenet_v2":
            return t.MobileNetV2Config(depth_multiplier=0.25, **labels)
        case "mobilevit":
            sizes = {"hidden_sizes": [8, 8, 8], "neck_hidden_sizes": [8, 8, 8, 8, 8, 8, 16], "num_attention_heads": 2}
            return t.MobileViTConfig(aspp_out_channels=8, **sizes, **labels)
        case "mobilevitv2":
            return t.MobileViTV2Config(width_multiplier=0.25, aspp_out_channels=8, **labels)
        case "upernet":
            backbone = t.ConvNextConfig(**every, **stages)
            return t.UperNetConfig(hidden_size=16, auxiliary_channels=8, backbone_config=backbone, **labels)
        case "beit":
            return t.BeitConfig(use_relative_position_bias=True, **uper, **_VIT, **labels)
        case "data2vec-vision":
            return t.Data2VecVisionConfig(use_relative_position_bias=True, **uper, **_VIT, **labels)
        case "dpt":
            return t.DPTConfig(backbone_out_indices=[0, 1, 2, 3], **dpt, **_VIT, **labels)
        case "sapiens2":
            head = {"upsample_out_channels": [16, 16], "conv_out_channels": [16]}
            return t.Sapiens2Config(head_config=head, **_VIT, **labels)
        case "tipsv2_dpt":
            backbone = {**_VIT, "patch_size": 14, "image_size": 56, "model_type": "tipsv2_vision_model"}
            backbone |= {"out_indices": [1, 2, 3, 4], "apply_layernorm": True, "reshape_hidden_states": False}
            return t.Tipsv2DptConfig(backbone_config=backbone, **dpt, **labels)
        case "mask2former":
            masks = {"feature_size": 32, "mask_feature_size": 32, "num_queries": 7, "encoder_layers": 1}
            backbone = t.SwinConfig(**swin, **every)
            return t.Mask2FormerConfig(backbone_config=backbone, decoder_layers=3, **masks, **small, **labels)
        case "maskformer":
            decoder = t.DetrConfig(d_model=32, num_queries=7, decoder_layers=1, decoder_ffn_dim=16)
            decoder.decoder_attention_heads = decoder.encoder_attention_heads = 2
            sizes = {"fpn_feature_size": 32, "mask_feature_size": 32}
            return t.MaskFormerConfig(
                backbone_config=t.SwinConfig(**swin, **every), decoder_config=decoder, **sizes, **labels
            )
        case "oneformer":
            sizes = {"conv_dim": 32, "mask_dim": 32, "num_queries": 7, "encoder_layers": 1, "decoder_layers": 3}
            return t.OneFormerConfig(backbone_config=t.SwinConfig(**swin, **every), **sizes, **small, **labels)
        case "eomt":
            return t.EomtConfig(num_queries=7, num_blocks=2, num_upscale_blocks=2, **_VIT, **labels)
        case "eomt_dinov3":
            return t.EomtDinov3Config(num_queries=7, num_blocks=2, num_upscale_blocks=2, **_VIT, **labels)
        case "detr":
            sizes = {"d_model": 32, "num_queries": 7, "encoder_layers": 1, "decoder_layers": 1}
            sizes |= {"decoder_ffn_dim": 16, "encoder_ffn_dim": 16}
            backbone = t.ResNetConfig(embedding_size=8, **every, **stages, layer_type="basic")
            return t.DetrConfig(backbone_config=backbone, **sizes, **labels)
    raise AssertionError(kind)


def hf_network(kind: str, classes: int = CLASSES) -> Any:
    """The real class of transformers, small, with random weights."""
    import transformers

    from fakd.models.foreign.from_hf import network_names

    return getattr(transformers, network_names()[kind])(hf_config(kind, classes)).eval()


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
