import pytest
import steps
import torch

from fakd.models import load_model
from fakd.training import distill, train


def weights(folder):
    return load_model(folder)[0].state_dict()


@pytest.fixture
def frozen(train_config, teacher_run):
    return lambda **changes: train_config(init=teacher_run, freeze_backbone=True, ema=0.5, **changes)


def test_the_head_alone_learns_and_a_resumed_run_ends_the_same(frozen, teacher_run, tmp_path, monkeypatch) -> None:
    results = train(frozen(output=tmp_path / "whole"))
    before, after = weights(teacher_run), weights(tmp_path / "whole")
    for name, tensor in after.items():
        if name.startswith("encoder."):  # batch statistics too
            assert torch.equal(tensor, before[name]), name
    assert not torch.equal(after["classifier.weight"], before["classifier.weight"])
    assert not any(name.startswith("aux_head.") for name in after)
    assert results["steps"] == 4

    with monkeypatch.context() as patch:
        steps.crash_at(patch, 3)
        with pytest.raises(steps.Crash):
            train(frozen())
    train(frozen(resume=True))
    resumed = weights(tmp_path / "run")
    assert all(torch.equal(resumed[name], after[name]) for name in after)


@pytest.mark.parametrize("method", ["cwd", "fakd", "pixel"])
def test_a_transformer_with_a_linear_head_learns_from_one(train_config, distill_config, tmp_path, method) -> None:
    teacher = tmp_path / "teacher"
    train(train_config(network="linear/test_vit", head_channels=None, output=teacher, max_steps=2, eval_every=2))
    changes = {"student": "linear-concat/test_vit", "init": None, "head_channels": None, "max_steps": 2}
    results = distill(distill_config(teacher=teacher, method=method, eval_every=2, **changes))
    assert results["steps"] == 2


def test_frozen_random_weights_are_refused(train_config) -> None:
    with pytest.raises(ValueError, match="freeze_backbone keeps the encoder as it starts, which is random here"):
        train_config(freeze_backbone=True)
