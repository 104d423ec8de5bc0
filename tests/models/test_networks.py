import pytest
import timm
import torch
from network_tester import NetworkTester, parameters
from torch import nn
from torch.nn import functional as F

from fakd.models import HEADS, ModelConfig, Segmentor, create_model
from fakd.models.encoder import Encoder
from fakd.models.heads.isa import ISAHead
from fakd.models.network import config_from_json
from fakd.models.presets import preset_config
from fakd.models.segmentor import default_aux_channels


class TestPSPNetR18(NetworkTester):
    name = "pspnet-r18"
    channels = 128


class TestHRNetW18S(NetworkTester):
    name = "hrnet-w18s"
    channels = 270
    output_stride = None
    logits_stride = 4
    aux = False


class TestDeepLabV3PlusMV2(NetworkTester):
    name = "deeplabv3plus-mv2"
    channels = 512
    logits_stride = 4


class TestISANetR18(NetworkTester):
    name = "isanet-r18"
    channels = 128


class TestDeepLabV3PlusMobileNetV3(NetworkTester):
    name = "deeplabv3plus/mobilenetv3_large_100"
    channels = 128
    output_stride = 16
    logits_stride = 4


class TestISANetLite(NetworkTester):
    name = "isanet/efficientnet_lite0"
    channels = 24
    settings = {"channels": 24}  # noqa: RUF012


class TestConcatSmallResNet(NetworkTester):
    name = "fcn-concat/test_resnet"
    channels = 8
    output_stride = None
    logits_stride = 4
    aux = False
    settings = {"channels": 8}  # noqa: RUF012


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
    ("name", "encoder", "head", "aux", "stride", "dropout"),
    [
        ("pspnet-r101", 42_519_392, 23_150_742, 2_398_358, 8, 0.1),
        ("pspnet-r18", 11_195_744, 1_462_422, 157_334, 8, 0.1),
        ("hrnet-w48", 65_325_120, 627_990, 0, 4, 0.0),
        ("hrnet-w18s", 3_860_720, 114_090, 0, 4, 0.0),
        ("deeplabv3plus-r101", 42_519_392, 17_765_126, 2_398_358, 4, 0.1),
        ("deeplabv3plus-mv2", 1_811_712, 13_273_286, 260_246, 4, 0.1),
        ("isanet-r101", 42_519_392, 11_882_646, 2_398_358, 8, 0.1),
        ("isanet-r18", 11_195_744, 1_106_070, 157_334, 8, 0.1),
    ],
)
def test_presets_are_the_papers(name: str, encoder: int, head: int, aux: int, stride: int, dropout: float) -> None:
    with torch.device("meta"):
        config = preset_config(name, 150)
        model = Segmentor(config, Encoder(config.backbone, config.output_stride))
        assert model.eval()(torch.rand(1, 3, 128, 256)).logits.shape == (1, 150, 128 // stride, 256 // stride)
    assert parameters(model.encoder) == encoder
    assert parameters(model.head) + parameters(model.classifier) == head
    assert parameters(model.aux_head) == aux
    assert parameters(model) == encoder + head + aux
    assert {m.p for m in model.modules() if isinstance(m, nn.Dropout2d)} == {dropout}
    norms = [m for m in model.modules() if isinstance(m, nn.BatchNorm2d)]
    assert {m.eps for m in norms} == {1e-5}
    mean, std = Encoder(config.backbone, config.output_stride).image_mean, model.encoder.image_std
    assert [round(255 * value, 3) for value in mean.flatten().tolist()] == [123.675, 116.28, 103.53]
    assert std.shape == mean.shape


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


def dilated(encoder: Encoder) -> list[list[int]]:
    return [[block.conv_dw.dilation[0] for block in stage] for stage in encoder.body.blocks]


def test_mobilenetv2_dilates_only_the_first_block_of_a_stage() -> None:
    none = [[1], [1, 1], [1, 1, 1]]
    assert dilated(Encoder("mobilenetv2", 8)) == [*none, [2, 1, 1, 1], [2, 1, 1], [4, 1, 1], [4]]
    assert dilated(Encoder("mobilenetv2", 16)) == [*none, [1] * 4, [1] * 3, [2, 1, 1], [2]]
    assert dilated(Encoder("mobilenetv2", 32)) == [*none, [1] * 4, [1] * 3, [1] * 3, [1]]
    # timm's own name stays timm's network.
    assert dilated(Encoder("mobilenetv2_100", 8))[3:] == [[1, 2, 2, 2], [2, 2, 2], [2, 4, 4], [4]]


def test_hrnet_enlarges_by_the_power_of_two_and_then_to_the_size() -> None:
    encoder = Encoder("hrnetv2_w18_small", 32).eval()
    module = encoder.body.stage3[0]
    fine, middle, coarse = torch.rand(1, 18, 13, 9), torch.rand(1, 36, 7, 5), torch.rand(1, 72, 4, 3)
    with torch.no_grad():
        x = [branch(map_) for branch, map_ in zip(module.branches, (fine, middle, coarse), strict=True)]
        expected = x[0]
        for index, factor in ((1, 2), (2, 4)):
            convolved = module.fuse_layers[0][index][:2](x[index])
            larger = F.interpolate(convolved, scale_factor=factor, mode="bilinear")
            expected = expected + F.interpolate(larger, size=(13, 9), mode="bilinear")
        torch.testing.assert_close(module([fine, middle, coarse])[0], expected.relu())


@pytest.mark.parametrize(("output_stride", "dilations"), [(8, [12, 24, 36]), (16, [6, 12, 18]), (32, [3, 6, 9])])
def test_atrous_branches_reach_as_far_at_every_stride(output_stride: int, dilations: list[int]) -> None:
    head = create_model("deeplabv3plus/resnet10t", num_classes=2, output_stride=output_stride).head
    assert [branch[0][0].dilation[0] for branch in list(head.branches)[1:]] == dilations


@pytest.mark.parametrize("size", [(8, 8), (16, 24), (13, 17), (3, 9)])
def test_interlaced_attention_is_attention_over_both_groups(size: tuple[int, int]) -> None:
    head = ISAHead([6], [8], 4).double().eval()
    for tensor in head.state_dict().values():
        tensor.copy_(torch.rand(tensor.shape) + 0.1)
    x = torch.rand(2, 6, *size, dtype=torch.float64)

    def attend(module: nn.Module, positions: torch.Tensor) -> torch.Tensor:
        """(channels, n) -> (channels, n), one position after the other."""
        q, k, v = (part(positions[None, :, :, None])[0, :, :, 0] for part in (module.query, module.key, module.value))
        columns = [(v * (k.T @ q[:, i] / 16).softmax(0)).sum(1) for i in range(q.shape[1])]
        return module.output(torch.stack(columns, 1)[None, :, :, None])[0, :, :, 0]

    with torch.no_grad():
        inner = head.in_conv(x)
        height, width = (-(-side // 8) * 8 for side in size)
        top, left = (height - size[0]) // 2, (width - size[1]) // 2
        padded = torch.zeros(2, 4, height, width, dtype=torch.float64)
        padded[:, :, top : top + size[0], left : left + size[1]] = inner
        for image in padded:
            for i in range(8):
                for j in range(8):
                    image[:, i::8, j::8] = attend(head.global_relation, image[:, i::8, j::8].flatten(1)).view(
                        4, height // 8, width // 8
                    )
            for i in range(0, height, 8):
                for j in range(0, width, 8):
                    block = image[:, i : i + 8, j : j + 8]
                    block.copy_(attend(head.local_relation, block.flatten(1)).view(4, 8, 8))
        attended = padded[:, :, top : top + size[0], left : left + size[1]]
        torch.testing.assert_close(head([x]), head.out_conv(torch.cat([attended, inner], 1)))


@pytest.mark.parametrize("head", ["pspnet", "deeplabv3plus"])
def test_heads_that_pool_refuse_one_image_in_training(head: str) -> None:
    model = create_model(f"{head}/test_resnet", num_classes=2, channels=8, output_stride=16)
    with pytest.raises(ValueError, match="batch of 1 image in training"):
        model.train()(torch.rand(1, 3, 32, 32))
    assert model.eval()(torch.rand(1, 3, 32, 32)).logits.shape[0] == 1


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
    stages = [(64, 128, last) for last in (320, 512, 1024, 2048)]
    for head in ("pspnet", "deeplabv3plus", "isanet"):
        assert [HEADS[head].default_channels(stage) for stage in stages] == [128, 128, 512, 512]
    assert HEADS["fcn-concat"].default_channels((18, 36, 72, 144)) == 270
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
        (
            {"name": "pspnet/test_vit", "output_stride": 8},
            "output_stride 8: its strides are 16, 16, 16.* Leave output_stride out",
        ),
        ({"name": "linear/beit_base_patch16_224"}, r"gives no feature maps of images of any size \(Input height"),
        ({"name": "linear/test_resnet", "channels": 7}, "as wide as the maps that it reads, .* got 7"),
        pytest.param(
            {"name": "pspnet/test_coatnet"},
            "no feature maps of images of any size",
            marks=pytest.mark.skipif("test_coatnet" not in timm.list_models(), reason="newer than this timm"),
        ),
        ({"name": "hrnet-w18s", "output_stride": 8}, "'hrnetv2_w18_small' cannot give feature maps at output_stride 8"),
        ({"name": "pspnet-r18", "num_classes": 0}, "num_classes must be at least 1, got 0"),
        ({"name": "pspnet-r18", "output_stride": 4}, "cannot give feature maps at output_stride 4"),
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
        config_from_json("[]")
    with pytest.raises(ValueError, match=r"unknown model settings \['colour'\]"):
        config_from_json('{"head": "pspnet", "backbone": "resnet18", "num_classes": 2, "colour": 1}')
    with pytest.raises(ValueError, match=r"\['backbone', 'num_classes'\] are missing"):
        config_from_json('{"head": "pspnet"}')


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
    from fakd.models.backbones import SUGGESTED

    for name in SUGGESTED.split(", "):
        with torch.device("meta"):
            assert Encoder(name, 8).strides[-1] == 8, name
    assert timm.is_model("resnet18")
