"""Runs as pictures, drawn by matplotlib and written as PNG."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from torch import Tensor

from fakd.analysis.runs import Run
from fakd.data import DatasetSpec, Sample, Source
from fakd.data.palette import colorize
from fakd.data.transforms import EvalTransform
from fakd.evaluation import predict_logits
from fakd.evaluation.scores import ConfusionMatrix, scores_from_confusion
from fakd.models import Network
from fakd.types import IGNORE_INDEX


def draw_curves(runs: Mapping[str, Run], teacher: float, path: Path) -> None:
    """Draw mIoU on the validation split, and the supervised loss, over the steps of each run.

    Args:
        runs: by their name in the legend.
        teacher: mIoU of the teacher in percent.
        path: the PNG to write.
    """
    figure = Figure(figsize=(10, 4), layout="constrained")
    scores, losses = figure.subplots(1, 2)
    scores.axhline(teacher, color="grey", linestyle="--", label="teacher")
    for name, run in runs.items():
        if points := run.metrics.get("val/mIoU"):
            scores.plot(*zip(*((step + 1, value) for step, value in points), strict=True), marker="o", ms=3, label=name)
        if points := run.metrics.get("loss/ce"):
            losses.plot(*zip(*_smooth(points), strict=True), label=name)
    scores.set(xlabel="step", ylabel="mIoU on val, %", xlim=(0, None), ylim=(0, None))
    losses.set(xlabel="step", ylabel="cross-entropy of training crops, nats", ylim=(0, None))
    for axes in (scores, losses):
        axes.grid(alpha=0.3)
        axes.spines[["top", "right"]].set_visible(False)
    figure.legend(*scores.get_legend_handles_labels(), loc="outside lower center", ncols=5, frameon=False)
    figure.savefig(path, dpi=150)


def typical_scenes(alone: Network, distilled: Network, source: Source, spec: DatasetSpec) -> tuple[list[Sample], str]:
    """Choose the four scenes that show the mean gain: not those that flatter, and not by eye.

    Args:
        alone: the student that learnt alone, in eval mode on the CPU.
        distilled: the one that learnt from the teacher.
        source: all scenes to choose from.
        spec: gives the classes.

    Returns:
        The scenes in their order in the source, and how they were chosen, for people.
    """
    samples = [source[index] for index in range(len(source))]
    gains = [
        _miou(_predict(distilled, sample, spec), sample, spec) - _miou(_predict(alone, sample, spec), sample, spec)
        for sample in samples
    ]
    mean = sum(gains) / len(gains)
    nearest = sorted(range(len(samples)), key=lambda index: abs(gains[index] - mean))[:4]
    how = (
        f"The {len(nearest)} of {len(samples)} validation scenes whose gain, FAKD over the student alone, is nearest "
        f"the mean over scenes: {mean:+.1f} points of the scene's own mIoU"
    )
    return [samples[index] for index in sorted(nearest)], how


def draw_predictions(
    models: Mapping[str, Network],
    scores: Mapping[str, float],
    samples: Sequence[Sample],
    spec: DatasetSpec,
    path: Path,
    title: str,
) -> None:
    """Draw a grid: each sample's image and labels, then each model's prediction, with its mIoU on that sample below.

    Args:
        models: by the heading of their column, in eval mode on the CPU.
        scores: mIoU in percent of each model on the validation split.
        samples: one a row.
        spec: gives classes and colours.
        path: the PNG to write.
        title: which samples these are.
    """
    headings = ["image", "labels", *(f"{name}\nmIoU {scores[name]:.1f}" for name in models)]
    aspect = samples[0].image.shape[1] / samples[0].image.shape[2]
    size = (2.8 * len(headings), (2.8 * aspect + 0.25) * len(samples) + 1)
    figure = Figure(figsize=size, layout=ConstrainedLayoutEngine(h_pad=0.04, w_pad=0.02, hspace=0))
    grid = figure.subplots(len(samples), len(headings), squeeze=False)
    for row, sample in zip(grid, samples, strict=True):
        _show(row[0], sample.image.permute(1, 2, 0))
        _show(row[1], colorize(sample.label, spec.palette))
        for axes, model in zip(row[2:], models.values(), strict=True):
            predicted = _predict(model, sample, spec)
            _show(axes, colorize(predicted, spec.palette), f"mIoU here {_miou(predicted, sample, spec):.0f}")
    for axes, heading in zip(grid[0], headings, strict=True):
        axes.set_title(heading, fontsize=15)
    figure.suptitle(title, fontsize=14)
    figure.savefig(path, dpi=120)


def _show(axes: Axes, picture: Tensor, below: str = "") -> None:
    axes.imshow(picture.numpy(), interpolation="nearest")
    axes.set(xticks=[], yticks=[])
    axes.set_xlabel(below, fontsize=12)
    axes.spines[:].set_visible(False)


def _predict(model: Network, sample: Sample, spec: DatasetSpec) -> Tensor:
    """Class indices at the label's size; what the labels ignore is black here too, as nothing is scored there."""
    image = EvalTransform(spec.base_size).fit(sample.image)
    predicted = predict_logits(model, image.unsqueeze(0), sample.label.shape[-2:]).argmax(1)[0].to(torch.uint8)
    return predicted.masked_fill(sample.label == IGNORE_INDEX, IGNORE_INDEX)


def _miou(predicted: Tensor, sample: Sample, spec: DatasetSpec) -> float:
    """Of one scene alone, in percent."""
    matrix = ConfusionMatrix(spec.num_classes)
    matrix.update(predicted, sample.label)
    return scores_from_confusion(matrix.compute(), spec.classes).mIoU


def _smooth(points: Sequence[tuple[int, float]], window: int = 5) -> list[tuple[int, float]]:
    """Mean of each value and those just before it."""
    values = [value for _, value in points]
    means = [sum(part) / len(part) for i in range(len(values)) if (part := values[max(0, i + 1 - window) : i + 1])]
    return [(step + 1, value) for (step, _), value in zip(points, means, strict=True)]
