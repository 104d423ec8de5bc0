"""What makes a run faster changes neither what it computes nor what it writes."""

import re
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from steps import Crash, crash_at
from torch import Tensor, nn

from fakd.analysis.runs import read_metrics
from fakd.methods import create_method
from fakd.models import create_model
from fakd.training import distill, train
from fakd.training.config import TrainConfig
from fakd.training.learner import Learner, channels_last


def weights(root: Path) -> dict[str, Tensor]:
    return load_file(root / "student.safetensors")


def state(root: Path, name: str = "last") -> dict[str, Any]:
    return torch.load(root / f"checkpoints/{name}.ckpt", weights_only=True)


def assert_close_runs(one: Path, other: Path) -> None:
    ours, theirs = weights(one), weights(other)
    assert ours.keys() == theirs.keys()
    for name in ours:
        torch.testing.assert_close(ours[name], theirs[name], rtol=1e-3, atol=1e-4)
    assert state(one)["state_dict"].keys() == state(other)["state_dict"].keys()
    ours, theirs = read_metrics(one), read_metrics(other)
    assert ours.keys() == theirs.keys()
    for name in ours:
        if name.startswith("loss"):
            assert [value for _, value in ours[name]] == pytest.approx([value for _, value in theirs[name]], rel=1e-3)


@pytest.mark.slow
def test_compiled_run_is_the_eager_one_and_resumes(distill_config, monkeypatch, tmp_path) -> None:
    """Once with the real compiler, which takes a minute for each new pair of networks; resumed by its front alone."""
    forwards: list[str] = []
    original, backend = torch.compile, {}

    def counted(what: Any, **options: Any) -> Any:
        if isinstance(what, nn.Module):
            forwards.append(type(what).__name__)
        return original(what, **options, **backend)

    monkeypatch.setattr(torch, "compile", counted)
    settings = {"dropout": 0.0, "max_steps": 4, "checkpoint_every": 2, "method": "fakd"}
    distill(distill_config(output=tmp_path / "eager", **settings))
    assert forwards == []
    distill(distill_config(output=tmp_path / "compiled", compile=True, **settings))
    assert forwards == ["Segmentor", "Segmentor"]
    assert_close_runs(tmp_path / "eager", tmp_path / "compiled")

    backend["backend"] = "aot_eager"
    with monkeypatch.context() as patch:
        crash_at(patch, 3)
        with pytest.raises(Crash):
            distill(distill_config(output=tmp_path / "broken", compile=True, **settings))
    distill(distill_config(output=tmp_path / "broken", compile=True, resume=True, **settings))
    assert state(tmp_path / "broken")["global_step"] == 4
    assert_close_runs(tmp_path / "compiled", tmp_path / "broken")


def test_compiled_networks_are_the_ones_asked(train_config, monkeypatch, tmp_path) -> None:
    """Without a compiler at hand: what torch.compile returns is what the steps run."""
    asked: list[int] = []

    def compile_(network: nn.Module, **options: Any) -> Any:
        assert options == {"dynamic": False}
        return lambda images: asked.append(len(images)) or network(images)

    monkeypatch.setattr(torch, "compile", compile_)
    monkeypatch.setattr("fakd.training.fabric.check_compiler", lambda device: None)
    train(train_config(compile=True, output=tmp_path / "compiled"))
    assert asked == [2] * 4
    train(train_config(output=tmp_path / "eager"))
    assert len(asked) == 4
    ours, theirs = weights(tmp_path / "compiled"), weights(tmp_path / "eager")
    assert all(torch.equal(ours[name], theirs[name]) for name in ours | theirs)


def test_no_compiler(train_config, monkeypatch) -> None:
    def fail(*args: object, **options: object) -> Any:
        raise RuntimeError("No working C++ compiler found\nand much more")

    monkeypatch.setattr(torch, "compile", fail)
    message = "torch.compile does not work on this machine (No working C++ compiler found). It needs a C++ compiler"
    with pytest.raises(ValueError, match=re.escape(message)):
        train(train_config(compile=True))


@pytest.mark.parametrize(
    ("asked", "device", "precision", "due"),
    [
        (None, "cpu", "32-true", False),
        (None, "cpu", "bf16-mixed", False),
        (None, "cuda", "32-true", False),
        (None, "cuda", "bf16-mixed", True),
        (None, "cuda", "16-mixed", True),
        (False, "cuda", "bf16-mixed", False),
        (True, "cpu", "32-true", True),
    ],
)
def test_channels_last_by_default(asked, device, precision, due) -> None:
    config = TrainConfig(channels_last=asked, precision=precision)
    assert channels_last(config, torch.device(device)) is due


def test_channels_last_reaches_the_student(train_config, monkeypatch, tmp_path) -> None:
    layouts: set[tuple[bool, bool]] = set()
    original = Learner._ask_student

    def look(self: Learner, images: Tensor) -> Any:
        output = original(self, images)
        weight = self.student.head.state_dict()[next(n for n in self.student.head.state_dict() if "weight" in n)]
        stage = output.stages[-1]
        layouts.add(tuple(map(_is_channels_last, (weight, stage))))
        return output

    monkeypatch.setattr(Learner, "_ask_student", look)
    train(train_config(channels_last=True, output=tmp_path / "last"))
    assert all(stage for _, stage in layouts)
    layouts.clear()
    train(train_config(output=tmp_path / "first"))
    assert not any(stage for _, stage in layouts)
    assert_close_runs(tmp_path / "last", tmp_path / "first")


def _is_channels_last(tensor: Tensor) -> bool:
    return tensor.is_contiguous(memory_format=torch.channels_last) and not tensor.is_contiguous()


def test_caching_images_changes_nothing(train_config, tmp_path, capsys) -> None:
    train(train_config(output=tmp_path / "plain"))
    assert "decoded" not in capsys.readouterr().out
    train(train_config(cache_images=True, output=tmp_path / "cached"))
    assert "memory    8 decoded training images take 0.00 GB" in capsys.readouterr().out
    ours, theirs = weights(tmp_path / "plain"), weights(tmp_path / "cached")
    assert all(torch.equal(ours[name], theirs[name]) for name in ours | theirs)


def test_images_that_do_not_fit_stop_the_run(train_config, monkeypatch, tmp_path) -> None:
    monkeypatch.setattr("fakd.data.image_cache._free_memory", lambda: {"memory": 1000})
    with pytest.raises(ValueError, match=r"but 0\.00 GB of memory is free"):
        train(train_config(cache_images=True))
    assert not (tmp_path / "run").exists()


def test_networks_are_no_submodules_twice() -> None:
    student = create_model("pspnet/test_resnet", num_classes=12, channels=8)
    config = TrainConfig()
    module = Learner(student, create_method("none", student, None, max_steps=1), None, config)
    assert all(name.startswith("student.") for name in module.state_dict())
