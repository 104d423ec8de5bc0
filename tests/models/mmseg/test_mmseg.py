import importlib
import json
import pickle
import re
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from mmseg_vectors import NAMES, load_vectors, reference_image, reference_state

from fakd.models import PRESETS, Segmentor, create_model, load_mmseg, load_model, save_mmseg, save_model
from fakd.models.mmseg.weight_names import OWN_ENTRIES, mmseg_names

CLASSES = ("road", "car", "sky")
PALETTE = [[128, 64, 128], [0, 0, 142], [70, 130, 180]]


def write(path: Path, state: dict[str, torch.Tensor], **meta: Any) -> Path:
    torch.save({"meta": meta, "state_dict": state}, path)
    return path


def run(model: Segmentor, images: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor | None]:
    """Logits and auxiliary logits for images that are normalised already."""
    model.mean.zero_()
    model.std.fill_(1)
    with torch.no_grad():
        output = model.eval()(images)
        return output.logits, None if model.aux_head is None else model.aux_head(output.stages[-2])


@pytest.mark.parametrize("name", NAMES)
def test_logits_are_mmsegmentations(name: str, tmp_path: Path) -> None:
    vectors = load_vectors(name)
    state = reference_state(vectors)
    model, _ = load_mmseg(write(tmp_path / "checkpoint.pth", state))
    preset = PRESETS[name]
    assert {key: getattr(model.config, key) for key in preset} == preset
    assert sum(p.numel() for p in model.parameters()) == sum(
        t.numel() for n, t in state.items() if not n.endswith(("running_mean", "running_var", "num_batches_tracked"))
    )

    logits, aux = run(model, reference_image(vectors))
    scale = abs(vectors["logits"]).max()
    torch.testing.assert_close(logits, torch.from_numpy(vectors["logits"]), rtol=0, atol=1e-5 * scale)
    assert (aux is not None) == bool(vectors["aux_logits"].size)
    if aux is not None:
        scale = abs(vectors["aux_logits"]).max()
        torch.testing.assert_close(aux, torch.from_numpy(vectors["aux_logits"]), rtol=0, atol=1e-5 * scale)

    save_mmseg(model, tmp_path / "again.pth")
    again = torch.load(tmp_path / "again.pth", weights_only=True)["state_dict"]
    assert set(again) == set(state)
    assert [key for key in state if not torch.equal(again[key], state[key])] == []


@pytest.fixture(scope="module")
def small() -> Segmentor:
    """The network of the fewest parameters, with numbers of its own in every entry."""
    torch.manual_seed(1)
    model = create_model("hrnet-w18s", num_classes=3)
    for tensor in model.state_dict().values():
        tensor.copy_(torch.rand(tensor.shape) + 0.5 if tensor.is_floating_point() else torch.tensor(7))
    model.mean.copy_(torch.tensor([0.485, 0.456, 0.406]).view(1, 3, 1, 1))
    model.std.copy_(torch.tensor([0.229, 0.224, 0.225]).view(1, 3, 1, 1))
    return model


def theirs(model: Segmentor) -> dict[str, torch.Tensor]:
    state = model.state_dict()
    return {name: state[ours].clone() for ours, name in mmseg_names(model).items()}


@pytest.mark.parametrize("name", ["pspnet-r18", "deeplabv3plus-mv2", "isanet-r18", "hrnet-w18s"])
def test_round_trip_of_any_number_of_classes(name: str, tmp_path: Path) -> None:
    model = create_model(name, num_classes=3)
    save_mmseg(model, tmp_path / "m.pth", {"classes": json.dumps(CLASSES), "palette": json.dumps(PALETTE)})
    loaded, notes = load_mmseg(tmp_path / "m.pth")
    assert loaded.config == model.config
    assert not loaded.training
    assert notes == {"classes": json.dumps(CLASSES), "palette": json.dumps(PALETTE)}
    state = model.state_dict()
    assert [key for key, tensor in loaded.state_dict().items() if not torch.equal(tensor, state[key])] == []


def test_written_file_says_what_both_versions_of_mmsegmentation_ask_for(small: Segmentor, tmp_path: Path) -> None:
    notes = {"classes": json.dumps(CLASSES), "palette": json.dumps(PALETTE), "dataset": "streets"}
    save_mmseg(small, tmp_path / "m.pth", notes)
    content = torch.load(tmp_path / "m.pth", weights_only=True)
    assert set(content) == {"meta", "state_dict"}
    assert content["meta"] == {
        "CLASSES": list(CLASSES),
        "PALETTE": PALETTE,
        "dataset_meta": {"classes": list(CLASSES), "palette": PALETTE},
    }
    assert not OWN_ENTRIES & set(content["state_dict"])
    assert [file.name for file in tmp_path.iterdir()] == ["m.pth"]


@pytest.mark.parametrize(
    "meta",
    [{"CLASSES": CLASSES, "PALETTE": PALETTE}, {"dataset_meta": {"classes": list(CLASSES), "palette": PALETTE}}],
)
def test_class_names_of_either_version(small: Segmentor, meta: dict[str, Any], tmp_path: Path) -> None:
    _, notes = load_mmseg(write(tmp_path / "m.pth", theirs(small), **meta))
    assert json.loads(notes["classes"]) == list(CLASSES)
    assert json.loads(notes["palette"]) == PALETTE


def test_class_names_of_another_number_are_left_out(small: Segmentor, tmp_path: Path) -> None:
    assert load_mmseg(write(tmp_path / "m.pth", theirs(small), CLASSES=("a", "b")))[1] == {}


def test_without_the_auxiliary_head(tmp_path: Path) -> None:
    model = create_model("pspnet-r18", num_classes=2)
    state = {name: tensor for name, tensor in theirs(model).items() if not name.startswith("auxiliary_head")}
    loaded, _ = load_mmseg(write(tmp_path / "m.pth", state))
    assert loaded.config == replace(model.config, aux_channels=None)
    assert loaded.aux_head is None


def test_names_that_data_parallel_training_leaves(small: Segmentor, tmp_path: Path) -> None:
    state = {f"module.{name}": tensor for name, tensor in theirs(small).items()}
    loaded, _ = load_mmseg(write(tmp_path / "m.pth", state))
    assert loaded.config == small.config


def test_bare_state_dict(small: Segmentor, tmp_path: Path) -> None:
    torch.save(theirs(small), tmp_path / "m.pth")
    assert load_mmseg(tmp_path / "m.pth")[0].config == small.config


def test_loading_leaves_the_random_numbers_alone(small: Segmentor, tmp_path: Path) -> None:
    path = write(tmp_path / "m.pth", theirs(small))
    before = torch.random.get_rng_state()
    load_mmseg(path)
    assert torch.equal(torch.random.get_rng_state(), before)


def test_refuses_with_every_kind_of_fault(small: Segmentor, tmp_path: Path) -> None:
    state = theirs(small)
    state["backbone.conv9.weight"] = state.pop("backbone.conv1.weight")
    state["decode_head.convs.0.bn.bias"] = torch.zeros(4)
    with pytest.raises(
        ValueError, match=r"is none of pspnet-r101.*Most like it is hrnet-w18s with 3 classes"
    ) as caught:
        load_mmseg(write(tmp_path / "m.pth", state))
    text = str(caught.value)
    assert "missing: backbone.conv1.weight (64, 3, 3, 3)" in text
    assert "unexpected: backbone.conv9.weight" in text
    assert "decode_head.convs.0.bn.bias: expected (270,), found (4,)" in text
    assert "but for 3 entries" in text


def test_long_lists_are_cut(tmp_path: Path) -> None:
    state = {"decode_head.conv_seg.weight": torch.zeros(3, 8, 1, 1)}
    with pytest.raises(ValueError, match=r"\.\.\. and \d+ more$"):
        load_mmseg(write(tmp_path / "m.pth", state))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (
            {"state_dict": {"fc.weight": torch.zeros(2, 2)}},
            "no entry 'decode_head.conv_seg.weight'.*begin with fc.weight",
        ),
        ({"state_dict": {}}, "must hold named tensors"),
        ([1, 2], "must hold named tensors"),
        ({"state_dict": {"epoch": 3}}, "must hold named tensors"),
    ],
)
def test_refuses_what_is_no_checkpoint(content: Any, message: str, tmp_path: Path) -> None:
    torch.save(content, tmp_path / "m.pth")
    with pytest.raises(ValueError, match=message):
        load_mmseg(tmp_path / "m.pth")


class Runs:
    """Unpickles by calling whatever it was told to."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self.path,)


@pytest.mark.parametrize("legacy", [False, True])
def test_never_runs_code(small: Segmentor, tmp_path: Path, legacy: bool) -> None:
    trace = tmp_path / "ran"
    content = {"state_dict": theirs(small), "meta": Runs(trace)}
    torch.save(content, tmp_path / "m.pth", _use_new_zipfile_serialization=not legacy)
    with pytest.raises(ValueError, match=r"It is not read|cannot be read as a file of weights"):
        load_mmseg(tmp_path / "m.pth")
    assert not trace.exists()


def test_refusal_names_what_would_be_called(small: Segmentor, tmp_path: Path) -> None:
    torch.save({"state_dict": theirs(small), "meta": Runs(tmp_path / "ran")}, tmp_path / "m.pth")
    with pytest.raises(ValueError, match=r"would call pathlib\.Path\.touch|would call .*getattr.*pathlib"):
        load_mmseg(tmp_path / "m.pth")


@pytest.mark.filterwarnings("ignore:Detected pickle protocol")
def test_plain_pickles_are_not_run(tmp_path: Path) -> None:
    (tmp_path / "m.pth").write_bytes(pickle.dumps(Runs(tmp_path / "ran")))
    with pytest.raises(ValueError, match=r"m\.pth"):
        load_mmseg(tmp_path / "m.pth")
    assert not (tmp_path / "ran").exists()


def test_damaged_and_missing_files(small: Segmentor, tmp_path: Path) -> None:
    path = write(tmp_path / "m.pth", theirs(small))
    path.write_bytes(path.read_bytes()[:100_000])
    with pytest.raises(ValueError, match=r"cannot be read as a file of weights.*cut short"):
        load_mmseg(path)
    with pytest.raises(FileNotFoundError, match="no file of weights at"):
        load_mmseg(tmp_path / "none.pth")


def test_only_shared_networks_are_written(tmp_path: Path) -> None:
    model = create_model("pspnet/test_resnet", num_classes=2, channels=8, output_stride=16)
    with pytest.raises(ValueError, match=re.escape("no backbone 'test_resnet'; those it shares are resnet18_v1c")):
        save_mmseg(model, tmp_path / "m.pth")
    assert not (tmp_path / "m.pth").exists()


def test_other_widths_are_written_too(tmp_path: Path) -> None:
    model = create_model("pspnet-r18", num_classes=2, channels=16)
    save_mmseg(model, tmp_path / "m.pth")
    state = torch.load(tmp_path / "m.pth", weights_only=True)["state_dict"]
    assert state["decode_head.conv_seg.weight"].shape == (2, 16, 1, 1)


def test_file_of_ours_and_back(small: Segmentor, tmp_path: Path) -> None:
    save_mmseg(small, tmp_path / "a.pth")
    save_model(load_mmseg(tmp_path / "a.pth")[0], tmp_path / "b.safetensors")
    save_mmseg(load_model(tmp_path / "b.safetensors")[0], tmp_path / "c.pth")
    first, last = (torch.load(tmp_path / name, weights_only=True)["state_dict"] for name in ("a.pth", "c.pth"))
    assert list(first) == list(last)
    assert all(torch.equal(first[name], last[name]) for name in first)


HISTORY = """
import numpy as np
class HistoryBuffer:
    def __init__(self):
        self.history = np.array([0.5, 0.25])
        self.methods = {"mean": HistoryBuffer.mean}
    def mean(self):
        return self.history.mean()
"""
"""A module like MMEngine's, whose objects its checkpoints hold: arrays, and references to methods."""


def test_checkpoints_of_mmengines_training(small: Segmentor, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "mmengine" / "logging"
    folder.mkdir(parents=True)
    (folder / "history_buffer.py").write_text(HISTORY)
    monkeypatch.syspath_prepend(str(tmp_path))
    history = importlib.import_module("mmengine.logging.history_buffer").HistoryBuffer()
    hub = {"log_scalars": {"loss": history}, "runtime_info": {"iter": 3, "lr": np.float32(0.1)}}
    content = {"meta": {}, "state_dict": theirs(small), "message_hub": hub, "optimizer": {"state": {}}}
    path = tmp_path / "m.pth"
    torch.save(content, path)
    for name in ("mmengine", "mmengine.logging", "mmengine.logging.history_buffer"):
        monkeypatch.delitem(sys.modules, name)
    unsafe = torch.serialization.get_unsafe_globals_in_checkpoint(path)
    assert {"mmengine.logging.history_buffer.HistoryBuffer", "builtins.getattr"} <= set(unsafe)
    assert load_mmseg(path)[0].config == small.config
