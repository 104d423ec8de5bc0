"""Sharing through huggingface_hub's mixin: folders of this machine, without a network."""

import copy
import json
import os
import pickle
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from huggingface_hub import ModelCard
from safetensors import safe_open

import fakd
from fakd.models import Segmentor, create_model, open_model
from fakd.models.names import names_trained_model
from fakd.models.network import config_from_json

NOTES = {"dataset": "toy-scenes", "classes": '["a", "b", "c"]'}


@pytest.fixture(scope="module")
def model() -> Segmentor:
    torch.manual_seed(0)
    model = create_model("pspnet", backbone="test_resnet", num_classes=3, channels=8)
    model.notes = NOTES
    return model.eval()


@pytest.fixture
def folder(model, tmp_path) -> Path:
    model.save_pretrained(tmp_path / "shared")
    return tmp_path / "shared"


def same(left: Segmentor, right: Segmentor) -> bool:
    theirs = right.state_dict()
    return list(left.state_dict()) == list(theirs) and all(
        torch.equal(tensor, theirs[name]) for name, tensor in left.state_dict().items()
    )


def test_round_trip(model, folder) -> None:
    found = Segmentor.from_pretrained(folder)
    assert same(found, model)
    assert found.config == model.config
    assert found.notes == NOTES
    assert not found.training
    images = torch.rand(1, 3, 32, 32)
    torch.testing.assert_close(found(images).logits, model(images).logits, rtol=0, atol=0)


def test_the_folder_holds_one_file_of_weights_that_every_reader_reads(model, folder) -> None:
    assert sorted(path.name for path in folder.iterdir()) == ["README.md", "config.json", "model.safetensors"]
    for source in (folder, folder / "model.safetensors"):
        found, notes = fakd.load_model(source)
        assert same(found, model)
        assert notes == NOTES
        assert names_trained_model(source)
        assert same(open_model(source)[0], model)
    with safe_open(folder / "model.safetensors", framework="pt") as file:
        assert config_from_json(file.metadata()["fakd.model"]) == model.config
    assert config_from_json((folder / "config.json").read_text()) == model.config


def test_the_card_is_one_that_the_hub_reads(folder) -> None:
    card = ModelCard.load(folder / "README.md")
    assert card.data.library_name == "fakd"
    assert card.data.pipeline_tag == "image-segmentation"
    assert "fakd share" in card.text
    assert "test_resnet" in card.text


def test_a_card_that_is_there_is_kept(model, tmp_path) -> None:
    (tmp_path / "README.md").write_text("mine")
    model.save_pretrained(tmp_path)
    assert (tmp_path / "README.md").read_text() == "mine"


def test_saving_again_changes_nothing(model, folder) -> None:
    texts = {name: (folder / name).read_text() for name in ("README.md", "config.json")}
    Segmentor.from_pretrained(folder).save_pretrained(folder)
    assert {name: (folder / name).read_text() for name in texts} == texts
    assert same(Segmentor.from_pretrained(folder), model)
    assert fakd.load_model(folder)[1] == NOTES


def test_the_weights_say_how_the_network_is_built(model, folder) -> None:
    """A config.json that somebody edited, or that is missing, does not build another network."""
    (folder / "config.json").write_text(json.dumps({"head": "pspnet", "channels": 9}))
    assert same(Segmentor.from_pretrained(folder), model)
    (folder / "config.json").unlink()
    assert same(Segmentor.from_pretrained(folder), model)


def test_a_damaged_file_is_refused(folder) -> None:
    weights = folder / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-9])
    with pytest.raises(ValueError, match="was it cut short"):
        Segmentor.from_pretrained(folder)
    weights.unlink()
    with pytest.raises(FileNotFoundError, match="no model file"):
        Segmentor.from_pretrained(folder)


def test_the_network_stays_a_module_like_any_other(model, folder) -> None:
    found = Segmentor.from_pretrained(folder)
    for copied in (copy.deepcopy(found), pickle.loads(pickle.dumps(found))):
        assert same(copied, model)
        assert copied.config == model.config
    plain = torch.nn.Module.state_dict(create_model("pspnet", backbone="test_resnet", num_classes=3, channels=8))
    assert list(found.state_dict()) == list(plain)
    images = torch.rand(1, 3, 32, 32)
    compiled = torch.compile(found, backend="eager", fullgraph=True)
    torch.testing.assert_close(compiled(images).logits, found(images).logits)


OFFLINE = """
import sys
def forbid(event, arguments):
    if event in ("socket.connect", "socket.getaddrinfo", "socket.sendto"):
        raise RuntimeError(f"{event}{arguments}")
sys.addaudithook(forbid)
import fakd
model = fakd.Segmentor.from_pretrained(sys.argv[1])
model.save_pretrained(sys.argv[2])
try:
    fakd.Segmentor.from_pretrained("somebody/network")
except OSError as error:
    print(f"refused: {error}")
"""


@pytest.mark.slow
def test_no_network_for_a_local_folder(model, folder, tmp_path) -> None:
    environment = {**os.environ, "HF_HUB_OFFLINE": "1", "HF_HOME": str(tmp_path / "home"), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-c", OFFLINE, folder, tmp_path / "again"]
    said = subprocess.run(command, env=environment, capture_output=True, text=True, check=True).stdout
    assert said.startswith("refused: ")
    assert same(Segmentor.from_pretrained(tmp_path / "again"), model)


def test_a_network_of_another_library_is_shared_likewise(tmp_path) -> None:
    pytest.importorskip("segmentation_models_pytorch")
    model = create_model("smp:unet/mobilenet_v2", num_classes=3).eval()
    model.save_pretrained(tmp_path)
    found = Segmentor.from_pretrained(tmp_path)
    assert type(found) is type(model)
    assert same(found, model)
    assert found.config == model.config
