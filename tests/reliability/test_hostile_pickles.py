"""Files that would run code if they were unpickled: it never runs, and the message says so."""

import pickle
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from hostile import Runs, linux_only, outcome_and_memory

from fakd.cli import main
from fakd.models import open_model
from fakd.models.weights_file import read_torch_file, read_weights
from fakd.training import TrainConfig, train


@pytest.fixture
def trace(tmp_path: Path) -> Path:
    return tmp_path / "ran"


def lightning(evil: Runs) -> dict[str, Any]:
    state = {"state": {0: {"momentum_buffer": evil}}, "param_groups": [{"lr": 0.1, "params": [0]}]}
    return {"state_dict": {"weight": torch.zeros(1)}, "optimizer_states": [state], "global_step": 1}


CONTENTS: dict[str, Callable[[Runs], Any]] = {
    "whole file": lambda evil: evil,
    "among weights": lambda evil: {"state_dict": {"weight": torch.zeros(1), "bias": evil}},
    "MMSegmentation's meta": lambda evil: {"state_dict": {"weight": torch.zeros(1)}, "meta": {"CLASSES": evil}},
    "MMEngine's message hub": lambda evil: {"state_dict": {}, "message_hub": {"log": evil}},
    "optimizer state": lightning,
}


@pytest.mark.filterwarnings("ignore:Detected pickle protocol")
@pytest.mark.parametrize("form", ["zip", "legacy", "plain pickle"])
@pytest.mark.parametrize("content", CONTENTS)
def test_nothing_runs(tmp_path: Path, trace: Path, content: str, form: str) -> None:
    path, what = tmp_path / "evil.pth", CONTENTS[content](Runs(trace))
    if form == "plain pickle":
        path.write_bytes(pickle.dumps(what))
    else:
        torch.save(what, path, _use_new_zipfile_serialization=form == "zip")
    for read in (read_torch_file, read_weights, open_model):
        with pytest.raises(ValueError, match=r"evil\.pth (holds more than weights|cannot be read)") as refusal:
            read(path)
        assert "weights_only" not in str(refusal.value)  # PyTorch's advice to run it
    assert not trace.exists()
    pickle.loads(pickle.dumps(Runs(trace)))  # the payload is a real one
    assert trace.exists()


@pytest.mark.parametrize("command", ["convert", "predict", "evaluate"])
def test_commands_refuse_in_one_line(tmp_path: Path, trace: Path, command: str, capsys) -> None:
    torch.save(CONTENTS["MMSegmentation's meta"](Runs(trace)), tmp_path / "evil.pth")
    (tmp_path / "a.png").touch()
    rest = {"convert": ["out.safetensors"], "predict": ["a.png", "out"], "evaluate": []}[command]
    assert main([command, str(tmp_path / "evil.pth"), *(str(tmp_path / name) for name in rest)]) == 1
    error = capsys.readouterr().err
    assert "evil.pth holds more than weights: reading it would call" in error
    assert len(error.splitlines()) == 1
    assert not trace.exists()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.png", "evil.pth"]


def test_resuming_runs_nothing(train_config: Callable[..., TrainConfig], trace: Path, capsys) -> None:
    """The checkpoint stays one that resumes, but for what is hidden in its optimizer's state."""
    config = train_config(max_steps=2, eval_every=2)
    train(config)
    assert config.output is not None
    (config.output / "results.json").unlink()
    for path in config.output.glob("checkpoints/*.ckpt"):
        content = torch.load(path, weights_only=True)
        content["optimizer_states"][0]["param_groups"][0]["note"] = Runs(trace)
        torch.save(content, path)
    capsys.readouterr()
    message = ""
    try:
        train(train_config(max_steps=2, eval_every=2, resume=True))
    except Exception as error:
        message = str(error)
    assert not trace.exists()
    assert message or ".ckpt" in capsys.readouterr().out  # not passed over in silence


@linux_only
def test_compressed_tensors_are_refused(tmp_path: Path) -> None:
    torch.save({"weight": torch.zeros(64 << 20, dtype=torch.uint8)}, tmp_path / "plain.pth")
    with (
        zipfile.ZipFile(tmp_path / "plain.pth") as plain,
        zipfile.ZipFile(tmp_path / "bomb.pth", "w", zipfile.ZIP_DEFLATED) as bomb,
    ):
        for member in plain.infolist():
            bomb.writestr(member.filename, plain.read(member))
    assert (tmp_path / "bomb.pth").stat().st_size < 1 << 20
    message, memory = outcome_and_memory(read_torch_file, tmp_path / "bomb.pth")
    assert "claims to hold 67," in message
    assert memory < 32 << 20
    assert read_torch_file(tmp_path / "plain.pth")["weight"].numel() == 64 << 20
