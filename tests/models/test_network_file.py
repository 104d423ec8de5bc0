import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from fakd.files import atomic as writing
from fakd.models import Segmentor, create_model, load_model, save_model
from fakd.models import network as module


@pytest.fixture(scope="module")
def model() -> Segmentor:
    return create_model("pspnet/test_resnet", num_classes=2, channels=8, aux=False)


@pytest.fixture
def path(model: Segmentor, tmp_path: Path) -> Path:
    save_model(model, tmp_path / "model.safetensors")
    return tmp_path / "model.safetensors"


def rewrite(path: Path, model: Segmentor, change: dict[str, torch.Tensor | None], **metadata: str) -> None:
    tensors = {k: v for k, v in {**load_file(path), **change}.items() if v is not None}
    save_file(tensors, path, metadata={module.CONFIG_KEY: model.config.to_json(), **metadata})


def test_missing_file(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"no model file at .*none.safetensors"):
        load_model(tmp_path / "none.safetensors")


@pytest.mark.parametrize("keep", [0, 4, 200, -10])
def test_truncated_file(path: Path, keep: int) -> None:
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(ValueError, match=r"not a complete safetensors file .*cut short"):
        load_model(path)


def test_another_kind_of_file(path: Path) -> None:
    torch.save({"a": torch.zeros(1)}, path)
    with pytest.raises(ValueError, match="not a complete safetensors file"):
        load_model(path)


def test_foreign_safetensors(path: Path) -> None:
    save_file({"a": torch.zeros(1)}, path)
    with pytest.raises(ValueError, match=r"no metadata entry 'fakd.model'"):
        load_model(path)


@pytest.mark.parametrize("content", [{"state_dict": {"student.a": torch.zeros(1)}}, {"network": {}}, [1]])
def test_checkpoints_that_do_not_say_which_network_they_hold(tmp_path: Path, content: object) -> None:
    path = tmp_path / "run" / "checkpoints" / "best.ckpt"
    path.parent.mkdir(parents=True)
    torch.save(content, path)
    with pytest.raises(ValueError, match=r"does not say which network it holds.* Name the run folder, .*run, once"):
        load_model(path)
    path.write_bytes(b"cut")
    with pytest.raises(ValueError, match="cannot be read as a file of weights"):
        load_model(path)


@pytest.mark.parametrize("text", ["not json", "{}", '{"head": "pspnet", "backbone": "x", "num_classes": "y"}'])
def test_unreadable_architecture(path: Path, model: Segmentor, text: str) -> None:
    save_file(load_file(path), path, metadata={module.CONFIG_KEY: text})
    with pytest.raises(ValueError, match="cannot build"):
        load_model(path)


def test_mismatching_entries_are_listed(path: Path, model: Segmentor) -> None:
    rewrite(path, model, {"classifier.bias": None, "extra": torch.zeros(3), "mean": torch.zeros(4)})
    with pytest.raises(ValueError, match="does not fit its own architecture") as caught:
        load_model(path)
    for line in ("missing: classifier.bias (2,)", "unexpected: extra (3,)", "mean: expected (1, 3, 1, 1), found (4,)"):
        assert line in str(caught.value)


def test_a_long_list_of_mismatches_is_cut(path: Path, model: Segmentor) -> None:
    rewrite(path, model, {f"extra{i}": torch.zeros(1) for i in range(30)})
    with pytest.raises(ValueError, match=r"and 10 more$"):
        load_model(path)


def test_metadata_is_checked_and_kept(model: Segmentor, tmp_path: Path) -> None:
    path = tmp_path / "m.safetensors"
    with pytest.raises(ValueError, match="reserved"):
        save_model(model, path, {"fakd.model": "x"})
    with pytest.raises(ValueError, match=r"must be strings, got classes \(list\)"):
        save_model(model, path, {"classes": ["a"]})  # type: ignore[dict-item]
    assert not path.exists()
    notes = {"classes": json.dumps(["road", "Straße"]), "dataset": "camvid"}
    save_model(model, path, notes)
    assert load_model(path)[1] == notes


def test_a_failed_save_leaves_the_old_file(path: Path, model: Segmentor, monkeypatch: pytest.MonkeyPatch) -> None:
    before = path.read_bytes()

    def fail(*_: object) -> None:
        raise OSError("disk full")

    monkeypatch.setattr(writing.os, "fsync", fail)
    with pytest.raises(OSError, match="disk full"):
        save_model(model, path)
    assert path.read_bytes() == before
    assert [p.name for p in path.parent.iterdir()] == [path.name]


def test_loading_does_not_shift_random_numbers(path: Path) -> None:
    torch.manual_seed(3)
    expected = torch.rand(2)
    torch.manual_seed(3)
    load_model(path)
    assert torch.equal(torch.rand(2), expected)
