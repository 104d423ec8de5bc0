"""A loss that is no number stops the run, no checkpoint is spoilt, and what led to it can be computed again."""

import math
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from fakd.cli import main
from fakd.commands.replay import ReplayConfig, replay
from fakd.data import Sample
from fakd.methods import ChannelKD
from fakd.training import distill, label_loss, train
from fakd.training.learner import Learner
from fakd.training.nonfinite import NonFiniteGuard, NonFiniteLossError


def spoil(monkeypatch: pytest.MonkeyPatch, at: int, value: float) -> None:
    """Make the method's term infinite or NaN at one step."""
    original = ChannelKD.forward

    def forward(
        self: ChannelKD, student_output, teacher_output, labels: Tensor, step: int, **_: object
    ) -> dict[str, Tensor]:
        terms = original(self, student_output, teacher_output, labels, step)
        return {name: term * value if step == at else term for name, term in terms.items()}

    monkeypatch.setattr(ChannelKD, "forward", forward)


def before_step(monkeypatch: pytest.MonkeyPatch, step: int, change: Any) -> None:
    """Change the student when that many steps are done."""

    original = NonFiniteGuard.begin

    def begin(self: NonFiniteGuard, number: int, batch: Sample) -> None:
        if number == step:
            change(self._learner.student)
        original(self, number, batch)

    monkeypatch.setattr(NonFiniteGuard, "begin", begin)


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_names_the_term_and_the_step(distill_config, monkeypatch, tmp_path, value) -> None:
    spoil(monkeypatch, 2, value)
    with pytest.raises(NonFiniteLossError, match=rf"not finite at step 2: cwd = {value}\. Lower --learning-rate"):
        distill(distill_config(method="cwd", checkpoint_every=1))
    checkpoint = torch.load(tmp_path / "run/checkpoints/last.ckpt", weights_only=True)
    assert checkpoint["global_step"] == 2
    assert all(tensor.isfinite().all() for tensor in checkpoint["state_dict"].values())
    assert not (tmp_path / "run/student.safetensors").exists()


def test_too_large_a_learning_rate(train_config, tmp_path) -> None:
    with pytest.raises(NonFiniteLossError, match=r"not finite at step \d+: .*(ce|aux|weights after it) = (nan|inf)"):
        train(train_config(learning_rate=1e30, max_steps=8))


@pytest.mark.parametrize("method", ["fakd", "skds", "ifvd", "cirkd", "fitnet"])
def test_the_replay_computes_the_same_terms(distill_config, monkeypatch, tmp_path, method) -> None:
    """Bit by bit those that were finite, with draws, memories and discriminators."""
    before_step(monkeypatch, 2, lambda student: student.aux_head.classifier.weight.data.fill_(1e38))
    with pytest.raises(NonFiniteLossError, match=rf"aux = .*Replay it by: fakd replay {tmp_path}/run/nonfinite/step-2"):
        distill(distill_config(method=method, dropout=0.5))
    found = torch.load(tmp_path / "run/nonfinite/step-2.pt", weights_only=True)["found"]
    assert not math.isfinite(found.pop("aux"))
    again = replay(ReplayConfig(tmp_path / "run/nonfinite/step-2.pt", device="cpu"))
    assert not math.isfinite(again["terms"].pop("aux"))
    assert again["terms"] == found
    assert len(found) >= 2
    assert again["before"] == []
    assert any(name.startswith("student.aux_head") for name in again["gradients"])


def test_the_replay_names_the_first_module(train_config, monkeypatch, tmp_path, capsys) -> None:
    def change(student: nn.Module) -> None:
        student.head.bottleneck[0].weight.data.fill_(1e38)

    before_step(monkeypatch, 2, change)
    assert main(["replay", str(tmp_path)]) == 1
    assert "no step is kept in" in capsys.readouterr().err
    with pytest.raises(NonFiniteLossError):
        train(train_config())
    assert main(["replay", str(tmp_path / "run"), "--device", "cpu"]) == 0
    said = capsys.readouterr().out
    assert "first     student.head.bottleneck.0 (Conv2d)" in said
    assert "found     ce nan" in said
    assert "now       ce nan" in said


def test_weights_that_a_finite_loss_has_spoilt(train_config, monkeypatch, tmp_path) -> None:
    """The file has them as they were before, and no checkpoint has them."""
    weights: list[Tensor] = []

    def change(student: nn.Module) -> None:
        weights.append(student.classifier.weight.detach().clone())
        student.classifier.weight.register_hook(lambda gradient: gradient * math.nan)

    before_step(monkeypatch, 2, change)
    with pytest.raises(NonFiniteLossError, match=r"not finite at step 2: weights after it = nan"):
        train(train_config(checkpoint_every=3))
    assert not (tmp_path / "run/checkpoints/last.ckpt").exists()
    kept = torch.load(tmp_path / "run/nonfinite/step-2.pt", weights_only=True)
    assert torch.equal(kept["state_dict"]["student.classifier.weight"], weights[0])


class Module(nn.Module):
    """What the guard asks of a learner."""

    config = SimpleNamespace(teacher="the-teacher", to_dict=dict)

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(3))
        self.large = nn.Parameter(torch.zeros(2, 2))
        self.register_buffer("count", torch.zeros((), dtype=torch.int64))


@pytest.mark.parametrize("look", ["end", "look_at_weights"])
@pytest.mark.parametrize("wrong", ["term", "teacher", "weights"])
def test_looks_are_rare_on_accelerators(look, wrong, tmp_path, monkeypatch) -> None:
    """Every step counts all the same, and what is kept is of the right one."""
    monkeypatch.setattr("fakd.training.nonfinite.LARGEST", 3)
    module = Module()
    guard = NonFiniteGuard(module, torch.device("cuda"), every=4, folder=tmp_path, rank=1, ranks=2)

    def train_a_step(step: int) -> None:
        batch = Sample(torch.full((1, 5), step, dtype=torch.uint8), torch.zeros(1, 1), [f"image-{step}"])
        guard.begin(step, batch)
        bad = step == 1
        terms = {
            "ce": torch.tensor(1.0),
            "cwd": torch.tensor(math.nan if bad and wrong == "term" else 1.0),
        }
        module.teacher_is_finite = torch.tensor(not (bad and wrong == "teacher"))
        module.weight.data += math.nan if bad and wrong == "weights" else 1
        module.large.data += 1
        module.count += 1
        guard.end(step, terms)

    for step in range(3):
        train_a_step(step)  # nothing is raised yet: looking would make the host wait
    said = {
        "term": "the loss is not finite at step 1: cwd = nan",
        "teacher": "the teacher the-teacher gives logits that are infinite or NaN, at step 1, on image-1",
        "weights": "the loss is not finite at step 1: weights after it = nan",
    }
    with pytest.raises(NonFiniteLossError, match=said[wrong]):
        train_a_step(3) if look == "end" else guard.look_at_weights()
    kept = torch.load(tmp_path / "step-1-rank-1.pt", weights_only=True)
    assert kept["images"] == ["image-1"]
    assert kept["batch"]["image"].tolist() == [[1] * 5]  # whole, however large
    assert kept["state_dict"]["weight"].tolist() == [1, 1, 1]
    assert kept["state_dict"]["count"] == 1
    assert kept["late"] == ["large"]


def test_names_the_teacher(distill_config, teacher_run, monkeypatch, capsys) -> None:
    """Also where its logits leave the loss finite."""
    original, asked = Learner._ask_teacher, []

    def infinite(self: Learner, images: Tensor, cached: Tensor) -> Any:
        output = original(self, images, cached)
        logits = output.logits.clone()
        logits[0, 0, 0, 0] = -math.inf
        asked.append(output)
        return output if len(asked) != 3 else type(output)(logits, output.features)

    monkeypatch.setattr(Learner, "_ask_teacher", infinite)
    said = rf"the teacher {teacher_run} gives logits that are infinite or NaN, at step 2, on train/\d+, train/\d+\."
    with pytest.raises(NonFiniteLossError, match=said):
        distill(distill_config(method="fitnet"))


@pytest.mark.parametrize("cached", [False, True])
def test_a_damaged_teacher_is_found_before_training(distill_config, teacher_run, tmp_path, cached) -> None:
    from safetensors import safe_open

    file = teacher_run / "student.safetensors"
    with safe_open(file, "pt") as opened:
        notes = opened.metadata()
    weights = load_file(file)
    weights["classifier.bias"][1] = math.inf
    save_file(weights, tmp_path / "bad.safetensors", notes)
    config = distill_config(teacher=tmp_path / "bad.safetensors", teacher_cache=tmp_path / "cache" if cached else None)
    with pytest.raises(ValueError, match=rf"the teacher {tmp_path}/bad\.safetensors gives scores that are infinite or"):
        distill(config)


def test_a_full_disk_hides_nothing(train_config, monkeypatch, tmp_path) -> None:
    monkeypatch.setattr(label_loss, "cross_entropy", lambda *args, **options: args[0].sum() * math.nan)
    monkeypatch.setattr(torch, "save", lambda *_: (_ for _ in ()).throw(OSError(28, "No space left on device")))
    with pytest.raises(NonFiniteLossError, match=r"step 0: ce = nan.* could not be written to .*No space left"):
        train(train_config())


@pytest.mark.parametrize("content", [{"weight": torch.zeros(2)}, torch.zeros(2)])
def test_a_file_that_holds_no_step(content: Any, tmp_path: Path, capsys) -> None:
    torch.save(content, tmp_path / "step-1.pt")
    assert main(["replay", str(tmp_path / "step-1.pt")]) == 1
    assert "does not hold a step of a run" in capsys.readouterr().err
