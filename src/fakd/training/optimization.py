"""How weights are moved: timm's optimizers, what each parameter's learning rate is, and how it goes over the run."""

import re
from collections.abc import Callable, Iterator
from typing import Any

import torch
from timm.optim import create_optimizer_v2  # type: ignore[attr-defined]
from torch import nn

from fakd.data import Sample
from fakd.methods.schedules import cosine, poly
from fakd.models.network import Network
from fakd.training.config import RunConfig

FLOOR = 0.01
"""What the learning rate falls to, as a share of its highest value."""

_SHAPES: dict[str, Callable[[int, int, float], float]] = {
    "poly": lambda step, steps, power: poly(step, steps, power=power, floor=FLOOR),
    "cosine": lambda step, steps, power: 1 - (1 - FLOOR) * cosine(step, steps),
    "constant": lambda step, steps, power: 1.0,
}
_TIMM = {"sgd": "momentum", "nesterov": "sgd"}  # timm's "sgd" has Nesterov's momentum, the papers' has not
# A layer is named by the first numbers on the way to its parameters: body.layer1.0, segformer.encoder.block.0.1.
_LAYER = re.compile(r"(.*?\.\d+(?:\.\d+)*)\.")


def create_optimizer(student: Network, learner: nn.Module, config: RunConfig) -> torch.optim.Optimizer:
    """Make the optimizer of a run.

    Args:
        student: the network that learns.
        learner: the whole of what learns, with the student as its part of that name.
        config: of the run, resolved.

    Raises:
        ValueError: encoder and heads are to learn differently, and nobody knows which is which; or the optimizer
            cannot be made with such options.
    """
    groups = parameter_groups(student, learner, config)
    rest: Any = {"lr": config.learning_rate, "weight_decay": config.weight_decay, "momentum": config.momentum}
    try:
        optimizer: torch.optim.Optimizer = create_optimizer_v2(
            groups, opt=_TIMM.get(config.optimizer, config.optimizer), **rest
        )
    except (TypeError, ValueError, ImportError) as error:  # some of timm's need a package, or take no groups
        raise ValueError(f"optimizer {config.optimizer!r} cannot be made ({error}): choose another.") from error
    return optimizer


def parameter_groups(student: Network, learner: nn.Module, config: RunConfig) -> list[dict[str, Any]]:
    """Group what learns by its learning rate and weight decay; timm's own groups know no heads of segmentation.

    With SGD all decays, as in the papers of this line; else neither biases, norms, nor what the network excepts.
    """
    factors = _encoder_factors(student, config)
    exempt = set() if config.optimizer == "sgd" else _exempt(learner)
    groups: dict[tuple[float, float], list[nn.Parameter]] = {}
    for name, parameter in learner.named_parameters():
        if parameter.requires_grad:
            rate = config.learning_rate * factors.get(name, 1.0)
            decay = 0.0 if name in exempt else config.weight_decay
            groups.setdefault((rate, decay), []).append(parameter)
    return [{"params": found, "lr": rate, "weight_decay": decay} for (rate, decay), found in groups.items()]


def learning_rate_share(step: int, config: RunConfig) -> float:
    """The share of its highest value that every learning rate has, after so many steps.

    (t + 1) / (w + 1)          in the warm-up, t < w
    schedule(t - w, T - w)     after it
    """
    warmup = config.warmup_steps
    if step < warmup:
        return (step + 1) / (warmup + 1)
    return _SHAPES[config.schedule](step - warmup, config.max_steps - warmup, config.poly_power)


def parts(batch: Sample, count: int) -> Iterator[Sample]:
    """Cut a batch into so many parts of equal size; each has its share of the crops from the first to the last."""
    if count == 1:
        yield batch
        return
    for part in range(count):
        yield batch._replace(**{name: entry[part::count] for name, entry in batch._asdict().items()})


def _encoder_factors(student: Network, config: RunConfig) -> dict[str, float]:
    """By the name of an encoder's parameter, its learning rate as a share of the heads'; empty where all are alike."""
    if config.backbone_lr_factor == config.layer_decay == 1:
        return {}
    names = student.encoder_names()
    if not names:
        raise ValueError(
            f"backbone_lr_factor and layer_decay need to know the encoder of {config.trained_network}, which cannot be "
            "told from its heads: leave them at 1, or choose a --recipe that does."
        )
    layers, depth = dict[str, int](), dict[str, int]()
    for name in names:
        found = _LAYER.match(name)  # what has no number belongs to the layer before it, at first to the stem
        layer = found.group(1) if found else next(reversed(layers), "")
        depth[name] = layers.setdefault(layer, len(layers))
    return {
        f"student.{name}": config.backbone_lr_factor * config.layer_decay ** (len(layers) - depth[name])
        for name in names
    }


def _exempt(learner: nn.Module) -> set[str]:
    """The names of what decays in no paper but with SGD: biases, norms, and what a network of timm's excepts."""
    names = {name for name, parameter in learner.named_parameters() if parameter.ndim <= 1 or name.endswith(".bias")}
    for prefix, module in learner.named_modules():
        if callable(listed := getattr(module, "no_weight_decay", None)):
            names |= {f"{prefix}.{name}" for name in listed()}
    return names
