"""Runs as pictures, drawn by matplotlib and written as PNG."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from torch import Tensor

from fakd.analysis.runs import Run
from fakd.data import DatasetSpec, Sample
from fakd.data.palette import colorize
from fakd.data.transforms import EvalTransform
from fakd.evaluation import predict_logits
from fakd.models import Network


def draw_curves(runs: Mapping[str, Run], path: Path) -> None:
    """Draw mIoU on the validation split, and the supervised loss, over the steps of each run."""
    figure = Figure(figsize=(10, 4), layout="constrained")
    scores, losses = figure.subplots(1, 2)
    for name, run in runs.items():
        if points := run.metrics.get("val/mIoU"):
            scores.plot(*zip(*((step + 1, value) for step, value in points), strict=True), marker="o", ms=3, label=name)
        if points := run.metrics.get("loss/ce"):
            losses.plot(*zip(*_smooth(points), strict=True), label=name)
    scores.set(xlabel="step", ylabel="mIoU on val, %", ylim=(0, None))
    losses.set(xlabel="step", ylabel="cross-entropy of training crops, nats", ylim=(0, None))
    for axes in (scores, losses):
        axes.grid(alpha=0.3)
        axes.spines[["top", "right"]].set_visible(False)
    scores.legend(frameon=False)
    figure.savefig(path, dpi=150)


def draw_predictions(
    models: Mapping[str, Network],
    samples: Sequence[Sample],
    spec: DatasetSpec,
    base_size: tuple[int, int],
    path: Path,
) -> None:
    """Draw a grid: each sample's image and truth, then each model's prediction; a legend of the classes below.

    Args:
        models: by the heading of their column, in eval mode on the CPU.
        samples: one a row.
        spec: gives classes and colours.
        base_size: (height, width) that images are fitted into for the models.
        path: the PNG to write.
    """
    fit = EvalTransform(base_size).fit
    headings = ["image", "truth", *models]
    aspect = samples[0].image.shape[1] / samples[0].image.shape[2]
    size = (2.4 * len(headings), 2.4 * aspect * len(samples) + 0.9)
    figure = Figure(figsize=size, layout="constrained")
    grid = figure.subplots(len(samples), len(headings), squeeze=False)
    for row, sample in zip(grid, samples, strict=True):
        pictures = [sample.image.permute(1, 2, 0), colorize(sample.label, spec.palette)]
        pictures += [colorize(_predict(model, fit(sample.image), sample), spec.palette) for model in models.values()]
        for axes, picture in zip(row, pictures, strict=True):
            axes.imshow(picture.numpy(), interpolation="nearest")
            axes.set_axis_off()
    for axes, heading in zip(grid[0], headings, strict=True):
        axes.set_title(heading)
    patches = [
        Patch(color="#{:02x}{:02x}{:02x}".format(*colour), label=name)
        for name, colour in zip(spec.classes, spec.palette, strict=True)
    ]
    figure.legend(
        handles=patches, loc="outside lower center", ncols=min(len(patches), 2 * len(headings)), frameon=False
    )
    figure.savefig(path, dpi=130)


def _predict(model: Network, image: Tensor, sample: Sample) -> Tensor:
    """Class indices at the label's size; ignored pixels stay visible as what the model says of them."""
    return predict_logits(model, image.unsqueeze(0), sample.label.shape[-2:]).argmax(1)[0].to(torch.uint8)


def _smooth(points: Sequence[tuple[int, float]], window: int = 5) -> list[tuple[int, float]]:
    """Mean of each value and those just before it."""
    values = [value for _, value in points]
    means = [sum(part) / len(part) for i in range(len(values)) if (part := values[max(0, i + 1 - window) : i + 1])]
    return [(step + 1, value) for (step, _), value in zip(points, means, strict=True)]
