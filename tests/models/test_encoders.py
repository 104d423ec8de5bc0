"""Encoders that cannot be dilated: their own strides, images of any size."""

import math
from pathlib import Path

import onnxruntime
import pytest
import timm
import torch
from network_tester import NetworkTester
from torch.nn import functional as F

from fakd.export.onnx_graph import Deployed, Exporter, write_graph
from fakd.models import create_model
from fakd.models.cost import measure_cost
from fakd.models.encoder import Encoder
from fakd.models.inference_copy import inference_copy
from fakd.models.meta import on_meta


class TestLinearViT(NetworkTester):
    name = "linear/test_vit"
    channels = 64
    output_stride = None
    logits_stride = 16
    aux = False


class TestLinearConcatViT(NetworkTester):
    name = "linear-concat/test_vit"
    channels = 256
    output_stride = None
    logits_stride = 16
    aux = False


class TestUPerNetConvNeXt(NetworkTester):
    name = "upernet/test_convnext"
    channels = 16
    output_stride = None
    logits_stride = 4
    settings = {"channels": 16}  # noqa: RUF012


FAMILIES = {
    "vit_small_patch14_dinov2": (14, 14, 14, 14),
    "vit_small_patch16_dinov3.lvd1689m": (16, 16, 16, 16),
    "eva02_tiny_patch14_224": (14, 14, 14, 14),
    "deit_tiny_patch16_224": (16, 16, 16, 16),
    "samvit_base_patch16": (16, 16, 16, 16),
    "swin_tiny_patch4_window7_224": (4, 8, 16, 32),
    "swinv2_tiny_window8_256": (4, 8, 16, 32),
    "hiera_tiny_224": (4, 8, 16, 32),
    "mvitv2_tiny": (4, 8, 16, 32),
    "pvt_v2_b0": (4, 8, 16, 32),
}


@pytest.mark.parametrize("backbone", FAMILIES)
def test_families_at_their_own_strides_and_any_size(backbone: str) -> None:
    strides = FAMILIES[backbone]
    with on_meta():
        encoder = Encoder(backbone, or_natural=True).eval()
        stages = encoder(torch.empty(1, 3, 65, 97))
    assert encoder.strides == strides
    assert [tuple(stage.shape) for stage in stages] == [
        (1, channels, math.ceil(65 / stride), math.ceil(97 / stride))
        for channels, stride in zip(encoder.channels, strides, strict=True)
    ]


def test_an_encoder_that_can_be_dilated_is() -> None:
    assert Encoder("test_resnet", 8, or_natural=True).strides[-1] == 8


@pytest.mark.parametrize(("last", "blocks"), [(False, (0, 2, 3, 5)), (True, (2, 3, 4, 5))])
def test_a_plain_transformer_gives_normalised_blocks_of_filled_up_images(last: bool, blocks: tuple[int, ...]) -> None:
    encoder = Encoder("test_vit", or_natural=True, last_blocks=last).eval()
    vit = encoder.body.model
    images = torch.rand(1, 3, 40, 50)
    x = F.pad(images, (0, 14, 0, 8))
    with torch.no_grad():
        x = vit.norm_pre(vit._pos_embed(vit.patch_embed(x)))
        expected = []
        for index, block in enumerate(vit.blocks):
            x = block(x)
            if index in blocks:
                tokens = vit.norm(x)[:, vit.num_prefix_tokens :]
                expected.append(tokens.transpose(1, 2).reshape(1, -1, 3, 4))
        stages = encoder(images)
    assert len(vit.blocks) == 6
    for stage, map_ in zip(stages, expected, strict=True):
        torch.testing.assert_close(stage, map_)


def test_hiera_at_its_own_size_is_timms_and_resamples_elsewhere() -> None:
    encoder = Encoder("hiera_tiny_224", or_natural=True).eval()
    plain = timm.create_model("hiera_tiny_224", features_only=True).eval()
    plain.load_state_dict(encoder.body.state_dict())
    images = torch.rand(1, 3, 224, 224)
    with torch.no_grad():
        small = encoder(images[..., :64, :96])  # another size before must leave no trace
        for ours, theirs in zip(encoder(images), plain(images), strict=True):
            torch.testing.assert_close(ours, theirs)
    assert small[-1].shape == (1, 768, 2, 3)


def test_weights_of_timm_under_a_wrapper(tmp_path: Path) -> None:
    whole = timm.create_model("test_vit")
    torch.save(
        {"state_dict": {f"model.{name}": tensor for name, tensor in whole.state_dict().items()}}, tmp_path / "w.pth"
    )
    body = create_model("linear/test_vit", num_classes=2, backbone_weights=str(tmp_path / "w.pth")).encoder.body
    for name, tensor in body.state_dict().items():
        assert torch.equal(tensor, whole.state_dict()[name.removeprefix("model.")]), name


@pytest.mark.parametrize("name", ["linear/test_vit", "upernet/test_convnext"])
def test_the_copy_that_predicts_gives_the_same_answers(name: str) -> None:
    model = create_model(name, num_classes=3).eval()
    images = torch.rand(1, 3, 50, 70)
    with torch.no_grad():
        torch.testing.assert_close(inference_copy(model)(images).logits, model(images).logits, rtol=1e-4, atol=1e-5)


def test_the_stride_of_14_pixel_patches_is_14() -> None:
    with on_meta():
        model = create_model("linear/vit_small_patch14_dinov2", num_classes=2)
    assert measure_cost(model, (28, 42), 2).stride == 14


def test_upernet_says_that_one_image_is_too_few() -> None:
    with pytest.raises(ValueError, match="batch of 1 image in training"):
        create_model("upernet/test_resnet", num_classes=2)(torch.rand(1, 3, 64, 64))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "exporter"), [("linear/test_vit", "dynamo"), ("upernet/test_convnext", "torchscript")]
)
def test_exported_at_other_sizes(tmp_path: Path, name: str, exporter: Exporter) -> None:
    model = create_model(name, num_classes=3).eval()
    path = tmp_path / "net.onnx"
    write_graph(Deployed(model), path, {}, exporter=exporter)
    session = onnxruntime.InferenceSession(str(path))
    for size in ((64, 96), (50, 70)):
        images = torch.rand(1, 3, *size)
        (scores,) = session.run(None, {session.get_inputs()[0].name: images.numpy()})
        with torch.no_grad():
            torch.testing.assert_close(torch.from_numpy(scores), model(images).logits, rtol=1e-3, atol=1e-4)
