"""What moves the weights: optimizers, their groups, the learning rate over the run, parts of a step, mean weights."""

import math
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from steps import whole_and_resumed
from test_resumed_runs import assert_equal_runs
from torch import nn
from torch.testing import assert_close

from fakd.data.batches import SegmentationData
from fakd.data.seeds import mixed_seed
from fakd.methods import create_method
from fakd.models import load_model
from fakd.training import TrainConfig, distill, train
from fakd.training.learner import Learner
from fakd.training.optimization import create_optimizer, learning_rate_share, parameter_groups
from fakd.training.student import create_student

ADAMW = {"optimizer": "adamw", "learning_rate": 1e-3, "schedule": "cosine", "warmup_steps": 2, "clip_grad": 1.0}


def weights(root: Path) -> dict[str, torch.Tensor]:
    return load_file(root / "student.safetensors")


def learner_of(config: TrainConfig) -> Learner:
    student = create_student(config)
    return Learner(student, create_method("none", student, None, max_steps=config.max_steps), None, config)


def test_the_papers_recipe_is_plain_sgd(train_config, tmp_path) -> None:
    """A loop of one's own, with PyTorch's SGD and the formula of the learning rate."""
    config = train_config(dropout=0.0)
    train(config)
    learner = learner_of(train_config(dropout=0.0, output=tmp_path / "other")).train()
    optimizer = torch.optim.SGD(learner.parameters(), lr=0.01, momentum=0.9, weight_decay=5e-4)
    batches = iter(
        SegmentationData(config.spec, crop_size=config.crop_size, batch_size=2, seed=config.seed).train_dataloader()
    )
    for step in range(4):
        torch.manual_seed(mixed_seed("step", config.seed, step, 0))
        loss = torch.stack(list(learner(next(batches), step).values())).sum()
        loss.backward()
        optimizer.param_groups[0]["lr"] = 0.01 * (0.99 * (1 - step / 4) ** 0.9 + 0.01)
        optimizer.step()
        optimizer.zero_grad()
    expected = learner.student.state_dict()
    found = weights(tmp_path / "run")
    assert [name for name, value in found.items() if not torch.equal(value, expected[name])] == []


@pytest.mark.parametrize(("schedule", "fall"), [("poly", 0.99 * 0.5**2 + 0.01), ("cosine", 0.505), ("constant", 1.0)])
def test_the_learning_rate_rises_then_falls(schedule, fall) -> None:
    config = TrainConfig(max_steps=111, schedule=schedule, warmup_steps=10, poly_power=2.0)
    shares = [learning_rate_share(step, config) for step in range(111)]
    assert shares[:10] == pytest.approx([(step + 1) / 11 for step in range(10)])
    assert shares[10] == 1.0
    assert max(shares) == 1.0
    if schedule == "poly":
        assert shares[60] == pytest.approx(0.99 * (1 - 50 / 101) ** 2 + 0.01)
    else:
        assert shares[60] == pytest.approx(fall)
    assert shares[110] == pytest.approx({"poly": 0.01, "cosine": 0.01, "constant": 1.0}[schedule], abs=2e-4)


def test_groups_by_decay_and_part_of_the_network(train_config) -> None:
    config = train_config(optimizer="adamw", learning_rate=1e-3, weight_decay=0.1, backbone_lr_factor=0.1)
    learner = learner_of(config)
    names = {id(parameter): name for name, parameter in learner.named_parameters()}
    groups = parameter_groups(learner.student, learner, config)
    assert sorted(id(parameter) for group in groups for parameter in group["params"]) == sorted(names)
    for group in groups:
        for parameter in group["params"]:
            name = names[id(parameter)]
            assert group["lr"] == pytest.approx(1e-4 if name.startswith("student.encoder.") else 1e-3)
            assert group["weight_decay"] == (0.1 if parameter.ndim > 1 else 0.0), name
    assert isinstance(create_optimizer(learner.student, learner, config), torch.optim.AdamW)


def test_layers_further_from_the_head_learn_slower(train_config) -> None:
    config = train_config(layer_decay=0.5, learning_rate=1.0)
    learner = learner_of(config)
    names = {id(parameter): name for name, parameter in learner.named_parameters()}
    rates = {
        names[id(parameter)]: group["lr"]
        for group in parameter_groups(learner.student, learner, config)
        for parameter in group["params"]
    }
    assert rates["student.classifier.weight"] == 1.0
    blocks = [f"student.encoder.body.layer{stage}.0.conv1.weight" for stage in (1, 2, 3, 4)]
    found = [rates[name] for name in blocks]
    assert found == sorted(found)
    assert found[-1] == 0.5
    assert next(iter(rates.values())) == min(rates.values()) < found[0]  # the stem
    assert all(math.log2(rate).is_integer() for rate in rates.values())


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"optimizer": "adamv"}, "optimizer must be one of timm's, as sgd or adamw, got 'adamv'. Did you mean adam"),
        ({"warmup_steps": 4}, "warmup_steps must be below the 4 steps of the run, got 4"),
        ({"layer_decay": 1.5}, "layer_decay must be above 0 and at most 1, got 1.5"),
        ({"backbone_lr_factor": 0}, "backbone_lr_factor must be above 0, got 0"),
        ({"schedule": "steps"}, "schedule must be poly, cosine or constant, got 'steps'"),
        ({"clip_grad": -1}, "clip_grad must be 0 or more, got -1"),
        ({"accumulate": 0}, "accumulate must be 1 or more, got 0"),
        ({"accumulate": 3}, "batch_size 2 does not divide by 1 devices times 3 parts of a step"),
        ({"ema": 1.0}, "ema must be at least 0 and below 1, got 1"),
    ],
)
def test_wrong_values_are_named(train_config, changes, message) -> None:
    with pytest.raises(ValueError, match=message):
        train_config(**changes)


def test_another_optimizer_than_the_recipes_has_rates_of_its_own() -> None:
    config = TrainConfig(optimizer="adamw")
    assert (config.learning_rate, config.weight_decay) == (1e-4, 0.01)
    config = TrainConfig(recipe="segformer", optimizer="sgd")
    assert (config.learning_rate, config.weight_decay) == (0.01, 5e-4)


def test_clipped_gradients_move_the_weights_less(train_config, tmp_path) -> None:
    settings = {"max_steps": 1, "eval_every": 1, "weight_decay": 0.0}
    for name, limit in (("free", 0.0), ("clipped", 0.01)):
        train(train_config(output=tmp_path / name, clip_grad=limit, **settings))
    learner = learner_of(train_config(**settings))
    start = learner.student.state_dict()
    learnt = [name for name, _ in learner.student.named_parameters()]
    moved = {
        name: torch.cat([(weights(tmp_path / name)[key] - start[key]).flatten() for key in learnt]).norm().item()
        for name in ("free", "clipped")
    }
    assert moved["free"] > 0.001
    assert moved["clipped"] == pytest.approx(0.01 * 0.01, rel=1e-3)  # learning rate times the norm


def test_two_parts_of_four_are_a_batch_of_eight(distill_config, monkeypatch, tmp_path) -> None:
    monkeypatch.setattr(nn.BatchNorm2d, "train", lambda self, mode=True: nn.Module.train(self, False))
    settings = {"method": "cwd", "batch_size": 8, "dropout": 0.0, "ce_average": "all", "learning_rate": 0.05}
    for name, count in (("whole", 1), ("parts", 2)):
        distill(distill_config(output=tmp_path / name, accumulate=count, **settings))
    whole, parts = weights(tmp_path / "whole"), weights(tmp_path / "parts")
    for name, expected in whole.items():
        assert_close(parts[name], expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(
    "changes", [ADAMW, {"accumulate": 2}, {"ema": 0.9}, {**ADAMW, "accumulate": 2, "ema": 0.5, "layer_decay": 0.8}]
)
def test_resumed_is_bit_identical(distill_config, monkeypatch, tmp_path, changes) -> None:
    settings = {"method": "fakd", "dropout": 0.5, "max_steps": 6, "eval_every": 3, "batch_size": 4, **changes}
    assert_equal_runs(*whole_and_resumed(monkeypatch, distill_config, tmp_path, 3, **settings))
    optimizers = [
        torch.load(tmp_path / name / "checkpoints/last.ckpt", weights_only=True)["optimizer_states"][0]["state"]
        for name in ("whole", "broken")
    ]
    for index, state in optimizers[0].items():
        for key, value in state.items():
            assert torch.equal(torch.as_tensor(value), torch.as_tensor(optimizers[1][index][key]))


def test_mean_weights_are_evaluated_and_saved(train_config, tmp_path) -> None:
    results = train(train_config(output=tmp_path / "mean", ema=0.9))
    train(train_config(output=tmp_path / "plain"))
    last = torch.load(tmp_path / "mean/checkpoints/last.ckpt", weights_only=True)["state_dict"]
    saved, plain = weights(tmp_path / "mean"), weights(tmp_path / "plain")
    for name, value in saved.items():
        assert torch.equal(value, last[f"ema.module.{name}"])
        assert torch.equal(plain[name], last[f"student.{name}"])  # which trains as without
    assert not torch.equal(saved["classifier.weight"], plain["classifier.weight"])
    network, _ = load_model(tmp_path / "mean/checkpoints/best.ckpt")
    assert torch.equal(network.state_dict()["classifier.weight"], saved["classifier.weight"])
    assert results is not None


def test_mean_weights_are_the_mean_of_what_a_step_left(train_config, tmp_path) -> None:
    """ModelEmaV3's formula with its warm-up, over the weights after each step."""
    after = []
    for steps in (1, 2, 3):
        folder = tmp_path / str(steps)
        train(train_config(output=folder, max_steps=steps, eval_every=steps, schedule="constant", ema=0.9))
        after.append(torch.load(folder / "checkpoints/last.ckpt", weights_only=True)["state_dict"])
    name = "classifier.weight"
    mean = after[0][f"student.{name}"].double()
    for step, state in enumerate(after):
        kept = 0.0 if step < 2 else min(0.9, 1 - (1 + (step - 1)) ** (-2 / 3))
        mean = kept * mean + (1 - kept) * state[f"student.{name}"].double()
        assert_close(state[f"ema.module.{name}"].double(), mean, rtol=1e-5, atol=1e-7)
