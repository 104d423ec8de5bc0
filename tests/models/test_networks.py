import pytest
import timm
import torch
from network_tester import NetworkTester, parameters
from torch import nn

from fakd.models import PRESETS, ModelConfig, Segmentor, create_model
from fakd.models.config import default_aux_channels, default_channels
from fakd.models.encoder import Encoder


class TestPSPNetR18(NetworkTester):
    name = "pspnet-r18"
    channels = 128


class TestPSPNetSmallResNet(NetworkTester):
    name = "pspnet/test_resnet"
    channels = 32
    output_stride = 16
    settings = {"channels": 32}  # noqa: RUF012


class TestPSPNetMobile(NetworkTester):
    name = "pspnet/mobilenetv3_small_050"
    channels = 128


class TestPSPNetLite(NetworkTester):
    name = "pspnet/efficientnet_lite0"
    channels = 24
    output_stride = 32
    settings = {"channels": 24}  # noqa: RUF012


@pytest.mark.parametrize(
    ("name", "encoder", "head", "aux"),
    [
        ("pspnet-r18", 11_195_744, 1_462_422, 157_334),
        ("pspnet-r101", 42_519_392, 23_150_742, 2_398_358),
    ],
)
def test_presets_have_the_papers_parameters(name: str, encoder: int, head: int, aux: int) -> None:
    with torch.device("meta"):
        model = Segmentor(ModelConfig(num_classes=150, **PRESETS[name]), Encoder(PRESETS[name]["backbone"]))
    assert parameters(model.encoder) == encoder
    assert parameters(model.head) + parameters(model.classifier) == head
    assert parameters(model.aux_head) == aux
    assert parameters(model) == encoder + head + aux
    norms = [m for m in model.modules() if isinstance(m, nn.BatchNorm2d)]
    assert {m.eps for m in norms} == {1e-5}


def test_preset_without_aux() -> None:
    model = create_model("pspnet-r18", num_classes=150, aux=False)
    assert parameters(model) == 12_815_500 - 157_334
    assert model.train()(torch.rand(2, 3, 32, 32)).aux is None


def dilations(encoder: Encoder, stage: str) -> list[tuple[int, int]]:
    return [(b.conv1.dilation[0], b.conv2.dilation[0]) for b in getattr(encoder.body, stage)]


def test_resnet18_dilates_only_the_first_convolution_of_a_block() -> None:
    encoder = Encoder("resnet18_v1c", output_stride=8)
    assert dilations(encoder, "layer3") == [(1, 1), (2, 1)]
    assert dilations(encoder, "layer4") == [(2, 1), (4, 1)]
    assert dilations(Encoder("resnet18_v1c", output_stride=16), "layer4") == [(1, 1), (2, 1)]
    # timm's own name stays timm's network.
    assert dilations(Encoder("resnet18"), "layer4") == [(2, 4), (4, 4)]


def test_resnet101_first_block_keeps_the_dilation_before() -> None:
    with torch.device("meta"):
        encoder = Encoder("resnet101_v1c", output_stride=8)
    assert [d for _, d in dilations(encoder, "layer3")] == [1] + [2] * 22
    assert [d for _, d in dilations(encoder, "layer4")] == [2, 4, 4]


def test_images_are_normalised_inside() -> None:
    model = create_model("pspnet-r18", num_classes=2).eval()
    torch.testing.assert_close(255 * model.mean.flatten(), torch.tensor([123.675, 116.28, 103.53]))
    torch.testing.assert_close(255 * model.std.flatten(), torch.tensor([58.395, 57.12, 57.375]))
    images = torch.rand(1, 3, 32, 32)
    with torch.no_grad():
        stages = model.encoder((images - model.mean) / model.std)
        torch.testing.assert_close(model(images).stages[-1], stages[-1])


def test_three_spellings_build_the_same_network() -> None:
    short = create_model("pspnet/resnet10t", num_classes=3)
    assert short.config == create_model("pspnet", backbone="resnet10t", num_classes=3).config
    assert short.config == ModelConfig("pspnet", "resnet10t", 3, channels=128, aux_channels=64)
    preset = create_model("pspnet-r18", backbone="resnet18_v1c", num_classes=3)
    assert preset.config == create_model("pspnet/resnet18_v1c", num_classes=3).config


def test_default_widths() -> None:
    assert [default_channels(c) for c in (320, 512, 1024, 2048)] == [128, 128, 512, 512]
    assert [default_aux_channels(c) for c in (24, 256, 1000, 1024)] == [64, 64, 248, 256]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"name": "unet"}, r"unknown network 'unet'; valid presets: pspnet-r101.*valid heads: pspnet"),
        ({"name": "unet/resnet18"}, "unknown network"),
        ({"name": "pspnet"}, "needs a backbone"),
        ({"name": "pspnet/"}, "needs a backbone"),
        ({"name": "pspnet-r18", "backbone": "resnet50"}, "preset with backbone 'resnet18_v1c'.*resnet50"),
        ({"name": "pspnet/resnet18", "backbone": "resnet50"}, "already names a backbone"),
        ({"name": "pspnet/resnet19"}, "unknown backbone 'resnet19'; did you mean .*resnet18"),
        ({"name": "pspnet/test_vit"}, "output_stride 8.*some that can: resnet18"),
        ({"name": "pspnet/test_coatnet"}, "output_stride 8.*some that can: resnet18"),
        ({"name": "pspnet-r18", "num_classes": 0}, "num_classes must be at least 1, got 0"),
        ({"name": "pspnet-r18", "output_stride": 4}, r"one of \(8, 16, 32\), got 4"),
        ({"name": "pspnet-r18", "channels": 0}, "channels must be at least 1"),
        ({"name": "pspnet-r18", "dropout": 1.0}, r"dropout must be in \[0, 1\), got 1.0"),
    ],
)
def test_create_model_refuses(arguments: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        create_model(**{"num_classes": 4, **arguments})


def test_config_refuses() -> None:
    with pytest.raises(ValueError, match="aux_channels must be at least 1"):
        ModelConfig("pspnet", "resnet18", 4, aux_channels=0)
    with pytest.raises(ValueError, match="unknown head 'unet'; valid heads: pspnet"):
        Segmentor(ModelConfig("unet", "resnet18", 4))
    with pytest.raises(ValueError, match="must be a JSON object"):
        ModelConfig.from_json("[]")
    with pytest.raises(ValueError, match=r"unknown model settings \['colour'\]"):
        ModelConfig.from_json('{"head": "pspnet", "backbone": "resnet18", "num_classes": 2, "colour": 1}')
    with pytest.raises(ValueError, match=r"\['backbone', 'num_classes'\] are missing"):
        ModelConfig.from_json('{"head": "pspnet"}')


@pytest.mark.parametrize(
    "images",
    [
        torch.rand(3, 32, 32),
        torch.rand(2, 1, 32, 32),
        torch.zeros(2, 3, 32, 32, dtype=torch.uint8),
    ],
)
def test_forward_refuses(images: torch.Tensor) -> None:
    with pytest.raises(ValueError, match=r"float \(B, 3, H, W\).*got"):
        create_model("pspnet/test_resnet", num_classes=2)(images)


def test_training_on_one_image_says_why_not() -> None:
    model = create_model("pspnet/test_resnet", num_classes=2)
    with pytest.raises(ValueError, match="batch of 1 image"):
        model(torch.rand(1, 3, 32, 32))
    model.eval()(torch.rand(1, 3, 32, 32))


def test_runs_under_autocast_and_channels_last() -> None:
    model = create_model("pspnet/test_resnet", num_classes=2).to(memory_format=torch.channels_last)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        output = model(torch.rand(2, 3, 32, 32))
    assert output.logits.dtype == torch.bfloat16
    output.logits.float().sum().backward()


def test_suggested_backbones_work() -> None:
    from fakd.models.encoder import SUGGESTED

    for name in SUGGESTED.split(", "):
        with torch.device("meta"):
            assert Encoder(name, 8).strides[-1] == 8, name
    assert timm.is_model("resnet18")
