"""The networks of other libraries obey the contract of this project's own."""

from pathlib import Path

import pytest
import torch
from foreign_networks import CLASSES, NAMES, name_of

from fakd.models import ForeignSegmentor, create_model, load_model, save_model
from fakd.models.fast import inference_copy
from fakd.types import SegmentationModel

IMAGES = torch.rand(2, 3, 64, 96)


@pytest.fixture(scope="module")
def networks() -> dict[str, ForeignSegmentor]:
    return {}


def built(name: str, networks: dict[str, ForeignSegmentor]) -> ForeignSegmentor:
    if name not in networks:
        networks[name] = create_model(name_of(name), num_classes=CLASSES)
    return networks[name]


@pytest.mark.parametrize("name", NAMES)
def test_logits_are_what_the_classifier_makes_of_the_features(name: str, networks) -> None:
    network = built(name, networks).train()
    assert isinstance(network, SegmentationModel)
    assert network.num_classes == CLASSES
    with torch.no_grad():
        output = network.eval()(IMAGES)
        convolutions = [network.model.get_submodule(path) for path in network.classifier_paths]
        bias = sum(convolution.bias for convolution in convolutions)
        first = convolutions[0]
        expected = torch.nn.functional.conv2d(output.features, network.classifier.weight, bias, padding=first.padding)
    torch.testing.assert_close(output.logits, expected, rtol=1e-4, atol=1e-5)
    assert output.aux is None


@pytest.mark.parametrize("name", NAMES)
def test_saved_and_loaded(name: str, networks, tmp_path: Path) -> None:
    network = built(name, networks).eval()
    save_model(network, tmp_path / "m.safetensors", {"note": "kept"})
    loaded, notes = load_model(tmp_path / "m.safetensors")
    assert loaded.config == network.config
    assert notes == {"note": "kept"}
    with torch.no_grad():
        assert torch.equal(loaded(IMAGES).logits, network(IMAGES).logits)


@pytest.mark.parametrize("name", NAMES)
def test_inference_copy_gives_the_same_answers(name: str, networks) -> None:
    network = built(name, networks).eval()
    images = torch.rand(1, 3, 50, 70)  # not what strides divide
    with torch.no_grad():
        expected, found = network(images), inference_copy(network)(images)
    for ours, theirs in zip(found[:2], expected[:2], strict=True):
        assert (ours - theirs).abs().max() < 1e-4 * theirs.abs().max()
