"""A loss that is no number stops the run, and no checkpoint is spoilt."""

import math
from types import SimpleNamespace

import pytest
import torch
from torch import Tensor

from fakd.methods import ChannelKD
from fakd.training import distill, train
from fakd.training.callbacks import NonFiniteLossError, StopOnNonFinite


def spoil(monkeypatch: pytest.MonkeyPatch, at: int, value: float) -> None:
    """Make the method's term infinite or NaN at one step."""
    original = ChannelKD.forward

    def forward(
        self: ChannelKD, student_output, teacher_output, labels: Tensor, step: int, **_: object
    ) -> dict[str, Tensor]:
        terms = original(self, student_output, teacher_output, labels, step)
        return {name: term * value if step == at else term for name, term in terms.items()}

    monkeypatch.setattr(ChannelKD, "forward", forward)


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_names_the_term_and_the_step(distill_config, monkeypatch, tmp_path, value) -> None:
    spoil(monkeypatch, 2, value)
    with pytest.raises(NonFiniteLossError, match=rf"not finite at step 2: cwd = {value}\. Lower --learning_rate"):
        distill(distill_config(method="cwd", checkpoint_every=1))
    checkpoint = torch.load(tmp_path / "run/checkpoints/last.ckpt", weights_only=True)
    assert checkpoint["global_step"] == 2
    assert all(tensor.isfinite().all() for tensor in checkpoint["state_dict"].values())
    assert not (tmp_path / "run/student.safetensors").exists()


@pytest.mark.parametrize("look", ["on_train_batch_end", "on_save_checkpoint", "on_train_end"])
def test_every_step_is_looked_at_where_looks_are_rare(look) -> None:
    guard = StopOnNonFinite(every=4)
    module = SimpleNamespace(device=torch.device("cuda"), loss_terms={})

    def train_a_step(step: int) -> None:
        module.loss_terms = {"ce": torch.tensor(1.0), "cwd": torch.tensor(math.nan if step == 1 else 1.0)}
        guard.on_train_batch_end(SimpleNamespace(global_step=step + 1), module)

    for step in range(3):
        train_a_step(step)  # nothing is raised yet: looking would make the host wait
    arguments = {
        "on_train_batch_end": [SimpleNamespace(global_step=4), module],
        "on_save_checkpoint": [None, module, {}],
    }
    with pytest.raises(NonFiniteLossError, match="not finite at step 1: cwd = nan"):
        getattr(guard, look)(*arguments.get(look, [None, module]))


def test_too_large_a_learning_rate(train_config, tmp_path) -> None:
    with pytest.raises(NonFiniteLossError, match=r"not finite at step \d+: .*(ce|aux) = (nan|inf)"):
        train(train_config(learning_rate=1e30, max_steps=8))
