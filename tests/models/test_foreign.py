"""The networks of other libraries obey the contract of this project's own."""

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from foreign_networks import CLASSES, FOLDERS, NAMES, hf_folder, hf_network, name_of
from torch import Tensor, nn
from torchvision.models import get_model
from torchvision.transforms.v2.functional import normalize

from fakd.console import install_command
from fakd.data.class_names import names_in
from fakd.functional import resize_logits
from fakd.methods import create_method
from fakd.models import ForeignSegmentor, create_model, load_model, open_model, save_model
from fakd.models.by_name import copy_weights
from fakd.models.cost import measure_cost
from fakd.models.foreign import from_hf
from fakd.models.inference_copy import inference_copy
from fakd.models.merged_teacher import MergedTeacher
from fakd.models.names import NetworkName, names_trained_model
from fakd.models.network import config_from_json
from fakd.types import SegmentationModel

IMAGES = torch.rand(2, 3, 64, 96)
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
_BUILT: dict[str, ForeignSegmentor] = {}


def built(name: str) -> ForeignSegmentor:
    """One network for all tests of it, in eval mode."""
    if name not in _BUILT:
        network = create_model(name_of(name), num_classes=CLASSES)
        assert isinstance(network, ForeignSegmentor)
        assert network.training
        _BUILT[name] = network
    return _BUILT[name].eval()


@pytest.mark.parametrize("name", NAMES)
@torch.no_grad()
def test_logits_are_what_the_classifier_makes_of_the_features(name: str) -> None:
    network = built(name)
    assert isinstance(network, SegmentationModel)
    assert network.num_classes == CLASSES
    output = network(IMAGES)
    convolutions = [network.model.get_submodule(path) for path in network.classifier_paths]
    bias = sum(convolution.bias for convolution in convolutions)
    padding = convolutions[0].padding
    expected = nn.functional.conv2d(output.features, network.classifier.weight, bias, padding=padding)
    torch.testing.assert_close(output.logits, expected, rtol=1e-4, atol=1e-5)
    assert output.aux is None


@pytest.mark.parametrize("name", ["smp:unet/mobilenet_v2", "pspnet/test_resnet"])
@torch.no_grad()
def test_one_score_is_two_classes(name: str, tmp_path: Path) -> None:
    """Of the probability s of its class, the background has 1 - s; what the features are stays."""
    one = create_model(name, num_classes=1).eval()
    if name.startswith("smp"):
        one.model.save_pretrained(tmp_path)
        name, names = f"smp:{tmp_path}", None
    else:
        save_model(one, tmp_path / "a.safetensors", {"classes": '["crack"]'})
        name, names = str(tmp_path / "a.safetensors"), ("background", "crack")
    two, notes = open_model(name)
    assert two.num_classes == two.classifier.out_channels == 2
    found, score = two(IMAGES), one(IMAGES).logits.sigmoid()
    torch.testing.assert_close(found.logits.softmax(1), torch.cat([1 - score, score], 1))
    torch.testing.assert_close(found.features, one(IMAGES).features)
    assert names_in(notes, 2) == names


def theirs(name: str, network: ForeignSegmentor, images: Tensor) -> Tensor:
    """The scores of the library's own call, at the images' size."""
    returned: Any = network.model(images)
    if isinstance(returned, dict):
        returned = returned["out"] if "out" in returned else returned["logits"]
    return resize_logits(returned, images.shape[-2:])


@pytest.mark.parametrize("name", NAMES)
@torch.no_grad()
def test_scores_are_the_library_s_own(name: str) -> None:
    network = built(name)
    half = name == "hf:mobilenet_v2"  # as its image processor says
    images = normalize(IMAGES, [0.5] * 3 if half else list(MEAN), [0.5] * 3 if half else list(STD))
    ours = resize_logits(network(IMAGES).logits, IMAGES.shape[-2:])
    expected = theirs(name, network, images)
    # smp enlarges with corners aligned; what a position of the logits itself says is the same.
    if name.startswith("smp:") and "unet" not in name:
        logits = network(IMAGES).logits
        expected, ours = (x[..., [0, 0, -1, -1], [0, -1, 0, -1]] for x in (expected, logits))
    torch.testing.assert_close(ours, expected, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("name", NAMES)
@torch.no_grad()
def test_any_height_and_width(name: str) -> None:
    network = built(name)
    output = network(torch.rand(1, 3, 33, 47))
    stride = 64 // network(torch.rand(1, 3, 64, 64)).logits.shape[-1]
    assert output.logits.shape[-2:] == (-(-33 // stride), -(-47 // stride))
    assert output.features.shape[-2:] == output.logits.shape[-2:]
    with pytest.raises(ValueError, match=r"images must be float \(B, 3, H, W\)"):
        network(torch.rand(1, 1, 64, 64))


@pytest.mark.parametrize("name", NAMES)
@torch.no_grad()
def test_saved_and_loaded(name: str, tmp_path: Path) -> None:
    network = built(name)
    save_model(network, tmp_path / "m.safetensors", {"note": "kept"})
    before = torch.get_rng_state()
    loaded, notes = load_model(tmp_path / "m.safetensors")
    assert torch.equal(torch.get_rng_state(), before)
    assert loaded.config == network.config == config_from_json(network.config.to_json())
    assert repr(loaded.config) == repr(network.config)  # what a teacher cache is named by
    assert notes == {"note": "kept"}
    assert torch.equal(loaded(IMAGES).logits, network(IMAGES).logits)


@pytest.mark.parametrize("name", NAMES)
@torch.no_grad()
def test_inference_copy_gives_the_same_answers(name: str) -> None:
    network = built(name)
    aux_heads = network.aux_head
    images = torch.rand(1, 3, 50, 70)  # not what strides divide
    copy = inference_copy(network)
    for ours, expected in zip(copy(images)[:2], network(images)[:2], strict=True):
        assert (ours - expected).abs().max() < 1e-4 * expected.abs().max()
    assert copy.aux_head is None
    assert not copy.config.aux
    assert network.aux_head is aux_heads


@pytest.mark.parametrize("name", ["smp:unet/mobilenet_v2", "torchvision:fcn_resnet50", *FOLDERS])
def test_cost(name: str) -> None:
    network = built(name)
    cost = measure_cost(network, (64, 96), 2)
    parameters = sum(p.numel() for p in network.parameters())
    aux = sum(p.numel() for p in network.aux_head.parameters()) if network.aux_head else 0
    assert (cost.parameters, cost.inference_parameters) == (parameters, parameters - aux)
    with torch.no_grad():
        output = network(IMAGES[:1])
    assert cost.logits_shape == tuple(output.logits.shape[1:])
    assert cost.features_shape == tuple(output.features.shape[1:])
    assert cost.macs > 0


@pytest.mark.parametrize("name", NAMES)
def test_as_student_and_as_teacher_of_fakd(name: str) -> None:
    """At its own stride, by a teacher of another one, and the other way round."""
    network = built(name)
    ours = create_model("pspnet/test_resnet", num_classes=CLASSES, channels=8, output_stride=16).eval()
    labels = torch.randint(CLASSES, (2, 64, 96))
    for student, teacher in ((network.train(), ours), (ours.train(), network.eval())):
        student.train()
        teacher.eval()
        method = create_method("fakd", student, teacher, max_steps=2)
        with torch.no_grad():
            taught = teacher(IMAGES)
        term = method(student(IMAGES), taught, labels, step=1)["fakd"]
        assert term.isfinite()
        assert term > 0
        term.backward()
        assert method.augmentation.covariance.covariance.sum() > 0
        weights = (
            [student.model.get_submodule(p).weight for p in student.classifier_paths] if student is network else []
        )
        assert all(weight.grad is not None and weight.grad.abs().sum() > 0 for weight in weights)


@pytest.mark.parametrize("name", ["torchvision:fcn_resnet50", "hf:upernet"])
def test_auxiliary_head(name: str) -> None:
    output = built(name).train()(IMAGES)
    assert output.aux is not None
    assert output.aux.shape[:2] == (2, CLASSES)
    assert create_model(name_of(name), num_classes=3, aux=False).train()(IMAGES).aux is None


def test_features_of_mobilenet_v2_are_before_its_dropout() -> None:
    features = built("hf:mobilenet_v2").train()(IMAGES).features
    zeros = (features == 0).flatten(2).all(2).float().mean()
    assert zeros < 0.7  # the dropout leaves a fifth of the channels


@torch.no_grad()
def test_open_a_folder_of_transformers() -> None:
    network, notes = open_model(name_of("hf:segformer"))
    expected = type(network.model).from_pretrained(hf_folder("segformer")).eval()
    assert not network.training
    assert notes == {"base_size": "[512, 2048]"}
    images = normalize(IMAGES, list(MEAN), list(STD))
    torch.testing.assert_close(network(IMAGES).logits, expected(images).logits)


def test_names_of_classes_come_along(tmp_path: Path) -> None:
    model = hf_network("segformer", 3)
    model.config.id2label = {0: "road", 1: "sky", 2: "person"}
    model.save_pretrained(tmp_path)
    assert json.loads(open_model(f"hf:{tmp_path}")[1]["classes"]) == ["road", "sky", "person"]


def test_nothing_in_a_folder_is_run(tmp_path: Path) -> None:
    hf_network("segformer").save_pretrained(tmp_path)
    (tmp_path / "evil.py").write_text("raise SystemExit('code of the folder ran')")
    config = json.loads((tmp_path / "config.json").read_text())
    config["auto_map"] = dict.fromkeys(("AutoConfig", "AutoModelForSemanticSegmentation"), "evil.Model")
    (tmp_path / "config.json").write_text(json.dumps(config))
    assert open_model(f"hf:{tmp_path}")[0].num_classes == CLASSES
    (tmp_path / "model.safetensors").rename(tmp_path / "pytorch_model.bin")
    with pytest.raises(FileNotFoundError, match=r"no model\.safetensors"):
        open_model(f"hf:{tmp_path}")


def rewritten(folder: Path, **changes: Any) -> None:
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, **changes}))


def test_folders_that_are_refused(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="no folder"):
        open_model("hf:nowhere")
    (tmp_path / "config.json").write_text("{")
    with pytest.raises(ValueError, match="cannot be read as JSON"):
        open_model(f"hf:{tmp_path}")
    hf_network("segformer").save_pretrained(tmp_path)
    rewritten(tmp_path, decoder_hidden_size=8)
    with pytest.raises(ValueError, match=r"lacks weights of a segformer: is it trained for segmentation\?\n  decode"):
        open_model(f"hf:{tmp_path}")
    rewritten(tmp_path, model_type="bert")
    with pytest.raises(ValueError, match="no segmentation network of type 'bert'; it has beit"):
        open_model(f"hf:{tmp_path}")
    rewritten(tmp_path, model_type="upernet", backbone="resnet50")
    with pytest.raises(ValueError, match="names its backbone 'resnet50', which would have to be fetched"):
        open_model(f"hf:{tmp_path}")


def test_an_unsure_classifier_is_asked_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As it would be for a type of network that a later release of transformers brings."""
    monkeypatch.delitem(from_hf._CLASSIFIERS, "dpt")
    hf_network("dpt").save_pretrained(tmp_path)
    with pytest.raises(ValueError, match=r"several 1x1.*\['head.head.4', 'auxiliary_head.head.4'\].*@PATH"):
        open_model(f"hf:{tmp_path}")
    network, _ = open_model(f"hf:{tmp_path}@head.head.4")
    assert network(torch.rand(1, 3, 64, 64)).logits.shape == (1, CLASSES, 32, 32)
    save_model(network, tmp_path / "m.safetensors")
    assert load_model(tmp_path / "m.safetensors")[0].classifier_path == "head.head.4"


@torch.no_grad()
def test_folder_and_weights_of_smp(tmp_path: Path) -> None:
    import segmentation_models_pytorch as smp

    theirs = smp.create_model(
        "fpn", "mobilenet_v2", encoder_weights=None, classes=4, decoder_pyramid_channels=32
    ).eval()
    theirs.save_pretrained(tmp_path / "fpn")
    network, _ = open_model(f"smp:{tmp_path / 'fpn'}")
    assert (network.num_classes, network.config.network) == (4, "smp:fpn/mobilenet_v2")
    logits = network(IMAGES).logits
    expected = theirs.segmentation_head[0](theirs.decoder(theirs.encoder(normalize(IMAGES, list(MEAN), list(STD)))))
    torch.testing.assert_close(logits, expected)

    unet = smp.Unet("mobilenet_v2", encoder_weights=None, classes=3)
    torch.save(unet.state_dict(), tmp_path / "unet.pth")
    name = f"smp:unet/mobilenet_v2={tmp_path / 'unet.pth'}"
    assert names_trained_model(name)
    assert open_model(name)[0].num_classes == 3
    with pytest.raises(ValueError, match="a network to be trained starts from scratch"):
        create_model(name, num_classes=3)
    torch.save({k: v for k, v in unet.state_dict().items() if "decoder" not in k}, tmp_path / "part.pth")
    with pytest.raises(ValueError, match="the weights do not fit smp:unet/mobilenet_v2"):
        open_model(f"smp:unet/mobilenet_v2={tmp_path / 'part.pth'}")
    with pytest.raises(FileNotFoundError, match="names no trained network"):
        open_model("smp:unet/mobilenet_v2")


@pytest.fixture
def published(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Callable[..., list[tuple[str, str | None]]]:
    """Let a file on this machine stand for what torchvision publishes; returns what was asked for."""

    def stand_in(state: dict[str, Tensor]) -> list[tuple[str, str | None]]:
        asked: list[tuple[str, str | None]] = []

        def download(url: str, path: Path, *, checksum: str | None = None) -> Path:
            asked.append((url, checksum))
            torch.save(state, tmp_path / "published.pth")
            return tmp_path / "published.pth"

        monkeypatch.setattr("fakd.models.weights_file.download", download)
        return asked

    return stand_in


def test_published_teacher_of_torchvision(published, capsys: pytest.CaptureFixture[str]) -> None:
    name = "deeplabv3_mobilenet_v3_large"
    theirs = get_model(name, weights=None, weights_backbone=None, num_classes=21, aux_loss=True)
    asked = published(theirs.state_dict())
    network, notes = open_model(f"torchvision:{name}")
    assert len(asked) == 1
    assert asked[0][1] == f"sha256:{asked[0][0].removesuffix('.pth')[-8:]}"  # checked against the name's hash
    assert "42 MB where they are not in" in capsys.readouterr().out
    assert json.loads(notes["classes"])[:2] == ["__background__", "aeroplane"]
    assert torch.equal(network.model.state_dict()["classifier.4.weight"], theirs.state_dict()["classifier.4.weight"])


def test_imagenet_weights_of_torchvision_s_backbones(published) -> None:
    classifier = get_model("mobilenet_v3_large", weights=None)
    published(classifier.state_dict())
    network = create_model("torchvision:lraspp_mobilenet_v3_large", num_classes=2, backbone_weights="imagenet")
    assert torch.equal(network.model.state_dict()["backbone.0.0.weight"], classifier.features[0][0].weight)
    published({"features.0.0.weight": torch.zeros(1)})
    with pytest.raises(ValueError, match="weights do not fit the encoder of torchvision:lraspp"):
        create_model("torchvision:lraspp_mobilenet_v3_large", num_classes=2, backbone_weights="imagenet")


def test_encoder_weights_from_a_folder_of_transformers() -> None:
    network = create_model(name_of("hf:segformer"), num_classes=3, backbone_weights=str(hf_folder("segformer")))
    expected = open_model(name_of("hf:segformer"))[0].state_dict()
    ours = network.state_dict()
    assert network.num_classes == 3
    assert all(torch.equal(ours[key], expected[key]) for key in ours if key.startswith("model.segformer."))
    with pytest.raises(ValueError, match="give a folder"):
        create_model(name_of("hf:segformer"), num_classes=3, backbone_weights="imagenet")


def test_weights_are_copied_between_equal_networks(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    network = built("hf:segformer")
    save_model(network, tmp_path / "m.safetensors")
    other = create_model(name_of("hf:segformer"), num_classes=CLASSES)
    copy_weights(tmp_path / "m.safetensors", other)
    assert torch.equal(other.eval()(IMAGES).logits, network(IMAGES).logits)
    copy_weights(tmp_path / "m.safetensors", create_model(name_of("hf:segformer"), num_classes=2))
    assert "starts random" in capsys.readouterr().out
    with pytest.raises(ValueError, match=r"the weights of .* do not fit"):
        copy_weights(tmp_path / "m.safetensors", create_model("smp:unet/resnet18", num_classes=CLASSES))


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("torchvision:resnet50", {}, "no segmentation network 'resnet50'; it has fcn_resnet50"),
        ("smp:unett/resnet18", {}, "expected ARCHITECTURE/ENCODER"),
        ("smp:unet", {}, "expected ARCHITECTURE/ENCODER"),
        ("smp:unet/resnet1", {}, "cannot build smp:unet/resnet1"),
        ("smp:", {}, "names no network"),
        ("torchvision:fcn_resnet50", {"output_stride": 8, "dropout": 0.2}, "output_stride, dropout cannot change"),
        ("torchvision:fcn_resnet50@classifier.9", {}, "'classifier.9' is not a Conv2d"),
    ],
)
def test_networks_that_cannot_be_built(name: str, options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        create_model(name, num_classes=2, **options)


def test_a_library_that_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "segmentation_models_pytorch", None)
    with pytest.raises(ModuleNotFoundError, match=re.escape(f"not installed: {install_command('smp')}")):
        create_model("smp:unet/resnet18", num_classes=2)


def test_names(tmp_path: Path) -> None:
    both = NetworkName.parse("torchvision:lraspp_mobilenet_v3_large=w.pth@a.low+a.high")
    assert both == NetworkName("torchvision", "lraspp_mobilenet_v3_large", "w.pth", ("a.low", "a.high"))
    (tmp_path / "model@v1").mkdir()
    assert NetworkName.parse(f"hf:{tmp_path}/model@v1").network == f"{tmp_path}/model@v1"
    assert NetworkName.parse("hf:x").files == ("x",)
    assert NetworkName.parse("hf:somebody/network:v1@a.b") == NetworkName("hf", "somebody/network:v1", None, ("a.b",))
    assert NetworkName.parse("hf:somebody/network:v1").files == ()
    assert not NetworkName.parse("torchvision:fcn_resnet50").trained


@torch.no_grad()
def test_a_teacher_with_merged_classes() -> None:
    network = built("hf:segformer")
    teacher = MergedTeacher(network, [[0, 3], [5]])
    output, own = teacher(IMAGES), network(IMAGES)
    assert teacher.num_classes == teacher.classifier.out_channels == 2
    torch.testing.assert_close(output.logits[:, 0].exp(), own.logits[:, 0].exp() + own.logits[:, 3].exp())
    assert torch.equal(output.logits[:, 1], own.logits[:, 5])
    assert torch.equal(output.features, own.features)
    with pytest.raises(ValueError, match="one or more of the 6 classes"):
        MergedTeacher(network, [[0], [6]])
