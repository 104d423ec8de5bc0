"""Networks of the Hugging Face Hub by their names: downloaded, kept, pinned, read offline, or refused in a sentence."""

import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import huggingface_hub.constants
import pytest
import torch
from foreign_networks import hf_folder
from hub_server import COMMIT, HubServer

from fakd.cli import main
from fakd.data.class_names import Classes, class_order
from fakd.models import create_model, open_model
from fakd.models.foreign.hf_files import on_hub, processor_in
from fakd.models.names import NetworkName

NAME = "somebody/segformer"


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[HubServer]:
    """A Hub with one network; huggingface_hub, which read its environment long ago, is pointed at it."""
    server = HubServer()
    folder = hf_folder("segformer")
    server.files[NAME] = {path.name: path.read_bytes() for path in folder.iterdir()} | {
        "evil.py": b"raise SystemExit",
        "pytorch_model.bin": b"a pickle",
    }
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    for module in (huggingface_hub.constants, sys.modules["huggingface_hub.file_download"].constants):
        monkeypatch.setattr(module, "ENDPOINT", server.url)
        monkeypatch.setattr(
            module, "HUGGINGFACE_CO_URL_TEMPLATE", server.url + "/{repo_id}/resolve/{revision}/{filename}"
        )
        monkeypatch.setattr(module, "HF_HUB_CACHE", str(tmp_path / "cache"))
        monkeypatch.setattr(module, "HF_HUB_DISABLE_XET", True)
    yield server
    server.shutdown()
    server.server_close()
    thread.join()


def cached(tmp_path: Path) -> list[str]:
    return sorted(path.name for path in (tmp_path / "cache").glob("models--*/snapshots/*/*"))


@torch.no_grad()
def test_only_what_is_needed_is_fetched_and_nothing_is_run(hub: HubServer, tmp_path: Path, capsys) -> None:
    fresh = create_model(f"hf:{NAME}", num_classes=3)
    assert fresh.num_classes == 3
    assert cached(tmp_path) == ["config.json", "preprocessor_config.json"]
    network, _ = open_model(f"hf:{NAME}")
    assert cached(tmp_path) == ["config.json", "model.safetensors", "preprocessor_config.json"]
    assert f"{NAME} at {COMMIT[:12]} from the Hugging Face Hub" in capsys.readouterr().out
    images = torch.rand(1, 3, 64, 64)
    assert torch.equal(network(images).logits, open_model(f"hf:{hf_folder('segformer')}")[0](images).logits)
    assert network.config.mean == processor_in(hf_folder("segformer")).mean


def test_a_revision_is_pinned_and_what_is_kept_is_used_without_the_hub(hub: HubServer, monkeypatch, tmp_path) -> None:
    name = f"hf:{NAME}:v1.0@decode_head.classifier"
    assert NetworkName.parse(name) == NetworkName("hf", f"{NAME}:v1.0", None, ("decode_head.classifier",))
    open_model(name)
    assert (tmp_path / "cache/models--somebody--segformer/refs/v1.0").read_text() == COMMIT
    hub.files.clear()
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    assert open_model(name)[0].num_classes == 6
    assert open_model(f"hf:{NAME}:{COMMIT}")[0].num_classes == 6
    with pytest.raises(ConnectionError, match="somebody/other is not in huggingface_hub's cache and cannot be downl"):
        open_model("hf:somebody/other")


def test_weights_in_several_files(hub: HubServer, tmp_path: Path) -> None:
    files = hub.files[NAME]
    files["model-00001-of-00001.safetensors"] = files.pop("model.safetensors")
    index = {"metadata": {}, "weight_map": {}}
    network, _ = open_model(f"hf:{hf_folder('segformer')}")
    index["weight_map"] = dict.fromkeys(network.model.state_dict(), "model-00001-of-00001.safetensors")
    files["model.safetensors.index.json"] = json.dumps(index).encode()
    found, _ = open_model(f"hf:{NAME}")
    assert all(torch.equal(found.state_dict()[key], tensor) for key, tensor in network.state_dict().items())


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ("RepoNotFound", FileNotFoundError, "no network somebody/segformer on the Hugging Face Hub that you may read"),
        ("RevisionNotFound", FileNotFoundError, "has no branch, tag or commit 'main'"),
        ("GatedRepo", PermissionError, "asks its users to accept terms: do so on its page, then log in"),
        ("no weights", FileNotFoundError, r"has no model.safetensors at main; .* hf:somebody/segformer:refs/pr/NUMBER"),
    ],
)
def test_what_cannot_be_had_is_said_in_a_sentence(hub: HubServer, change: str, error, message: str) -> None:
    if change == "no weights":
        del hub.files[NAME]["model.safetensors"]
    else:
        hub.error = change
    with pytest.raises(error, match=message):
        open_model(f"hf:{NAME}")


def test_a_hub_that_is_not_there(hub: HubServer, monkeypatch, capsys) -> None:
    monkeypatch.setattr(
        huggingface_hub.constants,
        "HUGGINGFACE_CO_URL_TEMPLATE",
        "http://127.0.0.1:9/{repo_id}/resolve/{revision}/{filename}",
    )
    monkeypatch.setattr(huggingface_hub.constants, "ENDPOINT", "http://127.0.0.1:9")
    monkeypatch.setattr(time, "sleep", lambda seconds: None)  # between the attempts of huggingface_hub
    assert main(["inspect", f"hf:{NAME}"]) == 1
    said = capsys.readouterr().err
    assert "the Hugging Face Hub is not reached, or HF_HUB_OFFLINE is set" in " ".join(said.split())
    assert "Traceback" not in said


def test_a_folder_of_that_name_goes_first(hub: HubServer, tmp_path: Path, monkeypatch) -> None:
    (tmp_path / "somebody").mkdir()
    (tmp_path / NAME).symlink_to(hf_folder("segformer"))
    monkeypatch.chdir(tmp_path)
    assert not on_hub(NAME)
    assert open_model(f"hf:{NAME}")[0].num_classes == 6
    assert cached(tmp_path) == []


OFFLINE = """
import sys
from fakd.models import open_model
print(open_model(sys.argv[1])[0].num_classes)
"""


@pytest.mark.slow
def test_environment_variables_of_huggingface_hub(hub: HubServer, tmp_path: Path) -> None:
    """As a user sets them: an endpoint, and a second run without it."""
    environment = {name: value for name, value in os.environ.items() if not name.lower().endswith("_proxy")}
    environment |= {"HF_HOME": str(tmp_path / "home"), "OMP_NUM_THREADS": "1", "HF_HUB_DISABLE_XET": "1"}
    for more in ({"HF_ENDPOINT": hub.url}, {"HF_HUB_OFFLINE": "1"}):
        command = [sys.executable, "-c", OFFLINE, f"hf:{NAME}"]
        done = subprocess.run(command, env=environment | more, capture_output=True, text=True, check=False)
        assert done.stdout.splitlines()[-1:] == ["6"], done.stderr


def test_labels_that_were_reduced_contradict_a_data_set_with_a_background() -> None:
    reduced = Classes.of_network(3, {"reduce_labels": "true"})
    with pytest.raises(ValueError, match=r"without label 0, .* do_reduce_labels .* class 0 of folder is 'Background'"):
        class_order("hf:net", reduced, "folder", Classes(3, ("Background", "road", "sky")))
    assert class_order("hf:net", reduced, "folder", Classes(3, ("wall", "road", "sky"))) is None
    named = Classes.of_network(3, {"reduce_labels": "true", "classes": '["background", "road", "sky"]'})
    assert class_order("hf:net", named, "folder", Classes(3, ("background", "road", "sky"))) is None
