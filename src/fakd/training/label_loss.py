"""The loss on labels: which one, and how much each class counts in it."""

from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Literal

import torch
from lightning_fabric import Fabric
from torch import Tensor, nn

from fakd.console import install_command, say
from fakd.data import Source
from fakd.data.batches import SegmentationData
from fakd.data.paired_files import PairedFiles
from fakd.data.plain_yaml import read_yaml
from fakd.functional import cross_entropy
from fakd.functional.cross_entropy import Average, hard_cross_entropy
from fakd.functional.inputs import full_precision
from fakd.functional.maps import resize_logits
from fakd.options import UNSAID, ByRecipe
from fakd.types import IGNORE_INDEX

_FROM_SMP = {"ce+dice": "DiceLoss", "ce+lovasz": "LovaszLoss", "focal": "FocalLoss"}
_THREADS = 4


@dataclass(kw_only=True)
class LabelLossConfig:
    """What the labels ask of the student."""

    loss: Literal["ce", "ce+dice", "ce+lovasz", "ohem", "focal"] = "ce"
    """Loss on labels: cross-entropy, that with Dice's or Lovasz' loss, that of the hardest pixels alone (ohem), or the
    focal one. Dice, Lovasz and focal are segmentation_models_pytorch's: pip install 'fakd[smp]'."""
    class_weights: ByRecipe[str] = UNSAID
    """How much each class counts in the cross-entropy: none, all alike; balanced, one over its share of the labelled
    pixels; sqrt, one over the root of it; or a YAML file of weights by class. By default the recipe's."""
    label_smoothing: float = 0.0
    """Share of each label that is spread over all classes, in the cross-entropy."""
    ce_average: Average = "valid"
    """What cross-entropy divides by: labelled pixels ("valid"), or all pixels as MMSegmentation does ("all")."""

    def check_label_loss(self, classes: Sequence[str]) -> None:
        """Refuse what cannot be.

        Raises:
            ValueError: a value is out of range, options contradict each other, or the file does not fit the classes.
            ModuleNotFoundError: the loss needs a package that is not installed.
        """
        if self.loss not in ("ce", "ohem", *_FROM_SMP):
            raise ValueError(f"loss must be ce, ce+dice, ce+lovasz, ohem or focal, got {self.loss!r}.")
        if not 0 <= self.label_smoothing < 1:
            raise ValueError(f"label_smoothing must be at least 0 and below 1, got {self.label_smoothing:g}.")
        if self.loss == "focal" and self.label_smoothing:
            raise ValueError("label_smoothing is for cross-entropy: leave it out with --loss focal.")
        if self.loss in _FROM_SMP and find_spec("segmentation_models_pytorch") is None:
            raise ModuleNotFoundError(
                f"--loss {self.loss} needs segmentation_models_pytorch, which is not installed: "
                f"{install_command('smp')}, or choose --loss ce or ohem."
            )
        if self.class_weights not in ("none", "balanced", "sqrt"):
            read_class_weights(Path(self.class_weights), classes)


class LabelLoss(nn.Module):
    """Turns scores and labels into named terms, which pull the scores toward the labels.

    Args:
        config: which loss.
        num_classes: C.
    """

    weights: Tensor | None
    """(C,) what each class counts; kept in checkpoints, so that a resumed run has the same. None is all alike."""

    def __init__(self, config: LabelLossConfig, num_classes: int) -> None:
        super().__init__()
        self.config = config
        self.register_buffer("weights", None if config.class_weights == "none" else torch.ones(num_classes))
        self.other: Any = None
        if config.loss in _FROM_SMP:
            losses = import_module("segmentation_models_pytorch.losses")
            self.other = getattr(losses, _FROM_SMP[config.loss])("multiclass", ignore_index=IGNORE_INDEX)
        if config.loss == "focal" and self.weights is not None and not hasattr(self.other, "class_weights"):
            raise ValueError(
                "class_weights with --loss focal need a newer segmentation_models_pytorch: pip install -U "
                "segmentation-models-pytorch, or give --class-weights none."
            )

    def forward(self, logits: Tensor, labels: Tensor) -> dict[str, Tensor]:
        """The terms of (B, C, h, w) raw scores and (B, H, W) labels, 255 = ignore."""
        kind = self.config.loss
        own: Any = {"weight": self.weights, "label_smoothing": self.config.label_smoothing}
        if kind == "ohem":
            return {"ohem": hard_cross_entropy(logits, labels, **own)}
        scores = resize_logits(full_precision(logits), labels.shape[-2:])
        if kind == "focal":
            self.other.class_weights = self.weights
            return {"focal": _or_zero(self.other(scores, labels), labels)}
        terms = {"ce": cross_entropy(scores, labels, average=self.config.ce_average, **own)}
        if self.other is not None:
            terms[kind.removeprefix("ce+")] = _or_zero(self.other(scores, labels), labels)
        return terms


def class_weights(kind: str, pixels: Tensor, classes: Sequence[str]) -> Tensor:
    """What each class counts, so that a labelled pixel counts 1 in the mean.

        balanced   w_c = 1 / (K f_c)
        sqrt       w_c = f_c^(-1/2) / sum_k f_k^(1/2)

    Args:
        kind: "balanced", "sqrt", or a file.
        pixels: (256,) how many training pixels have each label; f is their share, K how many classes there are any of.
        classes: names, in order.

    Returns:
        (C,) weights; 1 for a class that no pixel has.

    Example:
        >>> pixels = torch.zeros(256)
        >>> pixels[:2] = torch.tensor([90, 10])
        >>> class_weights("balanced", pixels, ("ground", "bird")).tolist()
        [0.5555555820465088, 5.0]
    """
    if kind not in ("balanced", "sqrt"):
        return torch.tensor(read_class_weights(Path(kind), classes))
    counts = pixels[: len(classes)].double()
    there = counts > 0
    shares = counts[there] / counts.sum()
    weights = torch.ones(len(classes), dtype=torch.float64)
    weights[there] = 1 / (shares * len(shares)) if kind == "balanced" else shares.rsqrt() / shares.sqrt().sum()
    return weights.float()


def weigh_classes(loss: LabelLoss, data: SegmentationData, fabric: Fabric) -> None:
    """Give a loss its weights, counted by one process for all; a run that is resumed has them in its checkpoint.

    Args:
        loss: with weights.
        data: whose training labels are counted, unless a file gives the weights.
        fabric: launched.

    Raises:
        DataError: a mask is at fault.
    """
    assert loss.weights is not None
    kind, classes = loss.config.class_weights, data.spec.classes
    weights = torch.ones(len(classes))
    if fabric.is_global_zero:
        counted = count_labels(data.source("train")) if kind in ("balanced", "sqrt") else torch.zeros(256)
        weights = class_weights(kind, counted, classes)
    weights = fabric.broadcast(weights)
    loss.weights.copy_(weights)
    said = sorted(zip(weights.tolist(), classes, strict=True))
    say(f"classes   weighed from {said[0][0]:.2g} ({said[0][1]}) to {said[-1][0]:.2g} ({said[-1][1]}), {kind}")


def read_class_weights(path: Path, classes: Sequence[str]) -> list[float]:
    """Read a YAML file of weights by the name of the class.

    Raises:
        ValueError: there is no such file, or it does not give every class, and no other, a weight of 0 or more.
    """
    if not path.is_file():
        raise ValueError(f"class_weights must be none, balanced, sqrt or a file of weights, got {str(path)!r}.")
    given = read_yaml(path)
    found = {str(name): weight for name, weight in given.items()} if isinstance(given, Mapping) else {}
    if wrong := sorted(set(found) ^ set(classes)):
        raise ValueError(
            f"{path} must give each of the {len(classes)} classes a weight, a line each as `{classes[0]}: 1.5`; "
            f"missing or unknown: {', '.join(wrong[:5])}."
        )
    for name, weight in found.items():
        if isinstance(weight, bool) or not isinstance(weight, int | float) or not 0 <= weight < float("inf"):
            raise ValueError(f"{path}: the weight of {name} must be a number, 0 or more, got {weight!r}.")
    return [float(found[name]) for name in classes]


def count_labels(source: Source) -> Tensor:
    """Count how many pixels of all images have each label.

    Returns:
        (256,) numbers, of ignored pixels at 255.

    Raises:
        DataError: a file is at fault.
    """
    if isinstance(source, PairedFiles):
        if source.pixels is None:
            with ThreadPoolExecutor(_THREADS) as pool:  # decoding releases the interpreter lock
                source.pixels = sum(pool.map(source.count, range(len(source))), torch.zeros(256, dtype=torch.int64))
        return source.pixels
    counted = (torch.bincount(source[index].label.flatten(), minlength=256) for index in range(len(source)))
    return sum(counted, torch.zeros(256, dtype=torch.int64))


def _or_zero(loss: Tensor, labels: Tensor) -> Tensor:
    """The loss; 0 where no pixel has a label, of which the library makes NaN, or a tensor of nothing."""
    loss = loss.sum()
    return torch.where((labels != IGNORE_INDEX).any(), loss, torch.zeros_like(loss))
