import hashlib
from dataclasses import replace
from pathlib import Path

import pytest
import timm
import torch
from http_server import Server
from safetensors.torch import save_file
from torch import Tensor
from torch.nn import functional as F

from fakd.files.checksum import checksum_in_name
from fakd.files.download import DownloadError
from fakd.models import BACKBONES, create_model
from fakd.models import backbone_weights as weights
from fakd.models.backbone_weights import LITE_PACKAGES, lite_state_dict, lite_weights_path, load_backbone_weights
from fakd.models.backbones import Layout
from fakd.models.encoder import Encoder
from fakd.models.mmseg.weight_names import backbone_names


@pytest.mark.parametrize("backbone", ["test_resnet", "test_convnext", "test_efficientnet"])
@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
def test_local_file_with_timms_names(backbone: str, suffix: str, tmp_path: Path) -> None:
    whole = timm.create_model(backbone)
    path = tmp_path / f"weights{suffix}"
    if suffix == ".pth":
        torch.save({"state_dict": whole.state_dict()}, path)
    else:
        save_file(whole.state_dict(), path)
    model = create_model(f"pspnet/{backbone}", num_classes=2, output_stride=32, backbone_weights=str(path))
    images = torch.rand(1, 3, 64, 64)
    with torch.no_grad():
        expected = timm.create_model(backbone, features_only=True).eval()
        load = whole.state_dict()
        own = expected.state_dict()
        expected.load_state_dict({n: load[n if n in load else n.replace("_", ".", 1)] for n in own})
        torch.testing.assert_close(model.eval().encoder(images)[-1], expected(images)[-1])


def test_missing_and_unexpected_entries_are_listed(tmp_path: Path) -> None:
    state = timm.create_model("test_resnet").state_dict()
    state["layer9.weight"] = state.pop("conv1.0.weight")
    state["layer1.0.conv1.weight"] = torch.zeros(2)
    torch.save(state, tmp_path / "w.pth")
    with pytest.raises(ValueError, match="do not fit") as caught:
        create_model("pspnet/test_resnet", num_classes=2, backbone_weights=str(tmp_path / "w.pth"))
    text = str(caught.value)
    assert "missing: conv1.0.weight" in text
    assert "unexpected: layer9.weight" in text
    assert "layer1.0.conv1.weight: expected (" in text
    assert "fc." not in text


def test_unreadable_files(tmp_path: Path) -> None:
    encoder = Encoder("test_resnet")
    with pytest.raises(FileNotFoundError, match='None, "imagenet", or the path or URL'):
        load_backbone_weights(encoder, "test_resnet", str(tmp_path / "none.pth"))
    for name in ("bad.pth", "bad.safetensors"):
        (tmp_path / name).write_bytes(b"not weights at all")
        with pytest.raises(ValueError, match=name):
            load_backbone_weights(encoder, "test_resnet", str(tmp_path / name))
    torch.save([1, 2], tmp_path / "list.pth")
    with pytest.raises(ValueError, match="must hold named tensors"):
        load_backbone_weights(encoder, "test_resnet", str(tmp_path / "list.pth"))
    torch.save(encoder, tmp_path / "module.pth")
    with pytest.raises(ValueError, match="holds more than weights"):
        load_backbone_weights(encoder, "test_resnet", str(tmp_path / "module.pth"))


def test_networks_without_published_weights() -> None:
    with pytest.raises(ValueError, match="publishes no ImageNet weights for backbone 'resnet10t_none'"):
        weights._download("resnet10t_none", Layout("resnet18", {"stem_type": "deep"}))


def openmmlab_state(backbone: str, prefix: str, extra: dict[str, Tensor]) -> tuple[dict[str, Tensor], Encoder]:
    """A classifier's file under OpenMMLab's names, and the encoder whose numbers it holds."""
    encoder = Encoder(backbone, 32)
    for tensor in encoder.state_dict().values():
        tensor.copy_(torch.rand(tensor.shape))
    own = encoder.body.state_dict()
    names = backbone_names(backbone, encoder.body)
    return {prefix + theirs: own[ours].clone() for ours, theirs in names.items()} | extra, encoder


@pytest.mark.parametrize(
    ("backbone", "prefix", "extra"),
    [
        ("resnet18_v1c", "", {"fc.weight": torch.zeros(1000, 512), "fc.bias": torch.zeros(1000)}),
        (
            "mobilenetv2",
            "backbone.",
            {
                "backbone.conv2.conv.weight": torch.zeros(1280, 320, 1, 1),
                "backbone.conv2.bn.weight": torch.zeros(1280),
                "head.fc.weight": torch.zeros(1000, 1280),
            },
        ),
        ("hrnetv2_w18_small", "", {}),
    ],
)
def test_openmmlabs_names(backbone: str, prefix: str, extra: dict[str, Tensor], tmp_path: Path) -> None:
    state, published = openmmlab_state(backbone, prefix, extra)
    # files as old as these lack the counters
    state = {name: tensor for name, tensor in state.items() if not name.endswith("num_batches_tracked")}
    torch.save({"state_dict": state, "meta": {}}, tmp_path / "w.pth")
    encoder = Encoder(backbone, 32)
    load_backbone_weights(encoder, backbone, str(tmp_path / "w.pth"))
    for name, tensor in encoder.body.state_dict().items():
        if not name.endswith("num_batches_tracked"):
            assert torch.equal(tensor, published.body.state_dict()[name]), name


def test_openmmlabs_names_with_a_hole(tmp_path: Path) -> None:
    state, _ = openmmlab_state("resnet18_v1c", "", {})
    del state["layer3.1.bn2.bias"]
    torch.save(state, tmp_path / "w.pth")
    with pytest.raises(ValueError, match=r"missing: layer3\.1\.bn2\.bias \(256,\)"):
        create_model("pspnet-r18", num_classes=2, backbone_weights=str(tmp_path / "w.pth"))


def test_weights_by_url(server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    state, published = openmmlab_state("resnet18_v1c", "", {})
    torch.save(state, tmp_path / "w.pth")
    server.content = (tmp_path / "w.pth").read_bytes()
    url = server.url.replace("12345678", hashlib.sha256(server.content).hexdigest()[:8])
    layout = replace(BACKBONES["resnet18_v1c"], weights_url=url)
    monkeypatch.setattr(weights, "layout_of", lambda name: layout)
    for source in (url, "imagenet"):
        encoder = Encoder("resnet18_v1c")
        load_backbone_weights(encoder, "resnet18_v1c", source)
        assert torch.equal(encoder.body.conv1[0].weight, published.body.conv1[0].weight)
    assert len(server.ranges) == 1
    server.behaviours = ["status 404"]
    with pytest.raises(DownloadError, match="404"):
        load_backbone_weights(encoder, "resnet18_v1c", server.url)


def test_urls_that_end_in_the_same_name(server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    (tmp_path / "hub" / "checkpoints").mkdir(parents=True)
    (tmp_path / "hub" / "checkpoints" / "w.pth").write_bytes(b"another program's file of that name")
    address = server.url.rsplit("/", 1)[0]
    for place in ("one", "two"):
        state, published = openmmlab_state("resnet18_v1c", "", {})
        torch.save(state, tmp_path / "w.pth")
        server.content = (tmp_path / "w.pth").read_bytes()
        for _ in range(2):  # downloaded, and found again
            encoder = Encoder("resnet18_v1c")
            load_backbone_weights(encoder, "resnet18_v1c", f"{address}/{place}/w.pth")
            assert torch.equal(encoder.body.conv1[0].weight, published.body.conv1[0].weight)
    assert len(server.ranges) == 2


@pytest.mark.parametrize("backbone", ["resnet18_v1c", "resnet50_v1c", "resnet101_v1c"])
def test_published_files_end_with_their_hash(backbone: str) -> None:
    url = BACKBONES[backbone].weights_url
    assert url is not None
    assert checksum_in_name(url.rsplit("/", 1)[1]) is not None


@pytest.mark.parametrize("backbone", ["mobilenetv2", "hrnetv2_w18_small"])
def test_timms_own_weights_fit_the_benchmarks_layouts(backbone: str, monkeypatch: pytest.MonkeyPatch) -> None:
    build = timm.create_model
    published = build(BACKBONES[backbone].timm_name)
    monkeypatch.setattr(
        weights.timm,
        "create_model",
        lambda name, pretrained=False, **settings: published if pretrained else build(name, **settings),
    )
    encoder = Encoder(backbone, 32)
    load_backbone_weights(encoder, backbone, "imagenet")
    theirs = published.state_dict()
    assert all(torch.equal(tensor, theirs[name]) for name, tensor in encoder.body.state_dict().items())


def test_no_network_connection(monkeypatch: pytest.MonkeyPatch) -> None:
    build = timm.create_model

    def offline(name: str, pretrained: bool = False, **settings: object) -> torch.nn.Module:
        if pretrained:
            raise OSError("Name or service not known")
        return build(name, **settings)

    monkeypatch.setattr(weights.timm, "create_model", offline)
    with pytest.raises(ConnectionError, match=r"backbone_weights=PATH, or pip install .*\[pretrained-lite\]"):
        create_model("pspnet/resnet10t", num_classes=2, backbone_weights="imagenet")


def test_published_weights_are_downloaded_by_timm(monkeypatch: pytest.MonkeyPatch) -> None:
    build = timm.create_model
    published = build("test_resnet")
    monkeypatch.setattr(
        weights.timm,
        "create_model",
        lambda name, pretrained=False, **settings: published if pretrained else build(name, **settings),
    )
    model = create_model("pspnet/test_resnet", num_classes=2, backbone_weights="imagenet")
    assert torch.equal(model.encoder.body.layer1[0].conv1.weight, published.layer1[0].conv1.weight)


def lite_forward(state: dict[str, Tensor], images: Tensor, strides: list[int]) -> Tensor:
    """Classify with nothing but the package's own names, TensorFlow's padding and epsilon."""

    def conv(x: Tensor, name: str, stride: int = 1, groups: int = 1) -> Tensor:
        weight = state[f"{name}.weight"]
        size, kernel = x.shape[-1], weight.shape[-1]
        pad = max((-(-size // stride) - 1) * stride + kernel - size, 0)
        return F.conv2d(F.pad(x, [pad // 2, pad - pad // 2] * 2), weight, stride=stride, groups=groups)

    def norm(x: Tensor, name: str) -> Tensor:
        entries = [state[f"{name}.{e}"] for e in ("running_mean", "running_var", "weight", "bias")]
        return F.batch_norm(x, *entries, eps=1e-3)

    x = F.relu6(norm(conv(images, "_conv_stem", 2), "_bn0"))
    for i, stride in enumerate(strides):
        inner, block = x, f"_blocks.{i}"
        if f"{block}._expand_conv.weight" in state:
            inner = F.relu6(norm(conv(inner, f"{block}._expand_conv"), f"{block}._bn0"))
        inner = conv(inner, f"{block}._depthwise_conv", stride, groups=inner.shape[1])
        inner = F.relu6(norm(inner, f"{block}._bn1"))
        inner = norm(conv(inner, f"{block}._project_conv"), f"{block}._bn2")
        x = x + inner if stride == 1 and inner.shape == x.shape else inner
    x = F.relu6(norm(conv(x, "_conv_head"), "_bn1")).mean((2, 3))
    return F.linear(x, state["_fc.weight"], state["_fc.bias"])


@pytest.mark.parametrize(("backbone", "repeats"), [("efficientnet_lite0", (1, 2, 2, 3, 3, 4, 1)),
                                                   ("efficientnet_lite1", (1, 3, 3, 4, 4, 5, 1)),
                                                   ("efficientnet_lite2", (1, 3, 3, 4, 4, 5, 1))])  # fmt: skip
def test_lite_package(backbone: str, repeats: tuple[int, ...]) -> None:
    path = lite_weights_path(backbone)
    if path is None:
        pytest.skip(f"the package {LITE_PACKAGES[backbone][0]} is not installed")
    whole = timm.create_model(f"tf_{backbone}").eval()
    state = lite_state_dict(path, {n: t.shape for n, t in whole.state_dict().items()})
    whole.load_state_dict(state)
    strides = [s if i == 0 else 1 for n, s in zip(repeats, (1, 2, 2, 2, 1, 2, 1), strict=True) for i in range(n)]
    images = torch.rand(2, 3, 96, 96) * 2 - 1
    with torch.no_grad():
        expected = lite_forward(torch.load(path, weights_only=True), images, strides)
        torch.testing.assert_close(whole(images), expected, rtol=1e-4, atol=1e-4)

    model = create_model(f"pspnet/{backbone}", num_classes=2, channels=8, backbone_weights="imagenet")
    torch.testing.assert_close(255 * model.mean.flatten(), torch.full((3,), 127.0))
    torch.testing.assert_close(255 * model.std.flatten(), torch.full((3,), 128.0))
    assert {m.eps for m in model.encoder.modules() if isinstance(m, torch.nn.BatchNorm2d)} == {1e-3}
    own = model.encoder.body.state_dict()
    assert all(torch.equal(tensor, state[name]) for name, tensor in own.items())
    assert all((own[n] >= 0).all() for n in own if n.endswith("running_var"))


def test_lite_pairs_are_checked(tmp_path: Path) -> None:
    path = tmp_path / "w.pth"
    torch.save({"_conv.weight": torch.zeros(2), "_bn.bias": torch.zeros(3)}, path)
    with pytest.raises(ValueError, match="2 entries where timm's network has 1"):
        lite_state_dict(path, {"conv.weight": torch.Size([2])})
    with pytest.raises(ValueError, match=r"_bn.bias \(3,\) does not pair with timm's bn.weight"):
        lite_state_dict(path, {"conv.weight": torch.Size([2]), "bn.weight": torch.Size([3])})


def test_lite_without_the_package(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(name: str) -> None:
        raise ImportError(name)

    monkeypatch.setattr("fakd.models.backbone_weights.importlib.import_module", missing)
    assert lite_weights_path("efficientnet_lite0") is None
    assert lite_weights_path("resnet18") is None
