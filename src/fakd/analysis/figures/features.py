"""What the student's features look like, and what FAKD has estimated of them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from matplotlib.figure import Figure
from matplotlib.ticker import EngFormatter
from torch import Tensor

from fakd.analysis.figures.style import Look, as_floats, rows_height, set_logarithmic
from fakd.analysis.runs import Run
from fakd.data import Sample
from fakd.data.palette import Palette, as_picture, colorize
from fakd.evaluation import to_float_images
from fakd.functional import resize_labels
from fakd.models.weights_file import read_torch_file
from fakd.training.run_folder import RunFolder
from fakd.types import IGNORE_INDEX, SegmentationModel

_STATE = "method.augmentation.covariance."
_GROWTH = "watched/variance"


@dataclass(frozen=True)
class FeatureMap:
    """The features of one image."""

    strength: Tensor
    """(h, w) mean over the channels."""
    separation: float | None
    """Share, in percent, of the features' variance over the image that lies between classes, not within them; None
    where the image has one class alone or the features are all the same."""


@torch.no_grad()
def feature_map(model: SegmentationModel, image: Tensor, label: Tensor) -> FeatureMap:
    """Ask a network for its features, the input of its last layer.

    Args:
        model: in eval mode.
        image: (3, H, W) uint8, fitted to the size that the network was trained on, on the network's device.
        label: (H', W') of the image.
    """
    features = model(to_float_images(image[None])).features[0].float().cpu()
    small = resize_labels(label[None].long().cpu(), features.shape[-2:])[0]
    return FeatureMap(features.mean(0), class_separation(features, small))


def class_separation(features: Tensor, labels: Tensor) -> float | None:
    """Percent of the variance that lies between the means of the classes: 100 where each class is one point.

    Args:
        features: (A, h, w).
        labels: (h, w), 255 = ignore.
    """
    labelled = labels != IGNORE_INDEX
    points, classes = features[:, labelled].double(), labels[labelled]
    present = torch.bincount(classes).nonzero().flatten()
    if len(present) < 2:
        return None
    centre = points.mean(1, keepdim=True)
    total = (points - centre).square().sum()
    between = sum(
        (classes == index).sum() * (points[:, classes == index].mean(1, keepdim=True) - centre).square().sum()
        for index in present
    )
    return 100 * float(between / total) if total > 0 else None


def draw_feature_maps(samples: Sequence[Sample], maps: Mapping[str, Sequence[FeatureMap]], palette: Palette) -> Figure:
    """Draw a row for each image: the image, its truth, and the features of each network on one scale of colours.

    Args:
        samples: one a row.
        maps: by heading of the column, one a row.
        palette: colours of the truth.
    """
    columns = len(maps) + 2
    tall = sum(sample.image.shape[1] / sample.image.shape[2] for sample in samples)
    figure = Figure(figsize=(2.4 * columns + 0.9, 2.3 * tall + 0.2 * len(samples) + 0.9))
    grid = figure.subplots(len(samples), columns, squeeze=False)
    every = torch.cat([found.strength.flatten() for column in maps.values() for found in column])
    lowest, highest = np.quantile(every.numpy(), [0.01, 0.99])  # of any number of values; torch had a limit
    for place, (row, sample) in enumerate(zip(grid, samples, strict=True)):
        row[0].imshow(as_picture(sample.image).numpy())
        row[1].imshow(colorize(sample.label, palette).numpy(), interpolation="nearest")
        for axes, column in zip(row[2:], maps.values(), strict=True):
            found = column[place]
            height, width = sample.label.shape
            picture = axes.imshow(
                found.strength.numpy(), cmap="viridis", vmin=lowest, vmax=highest, extent=(0, width, height, 0)
            )
            if found.separation is not None:
                note = f"{found.separation:.0f} % between classes"
                axes.text(0.5, -0.02, note, transform=axes.transAxes, ha="center", va="top", fontsize=8)
    for axes in grid.flat:
        axes.set_axis_off()
    for axes, heading in zip(grid[0], ["image", "truth", *maps], strict=True):
        axes.set_title(heading, loc="center")
    figure.get_layout_engine().set(w_pad=0.03, h_pad=0.03, wspace=0, hspace=0)  # type: ignore[union-attr, call-arg]
    figure.supxlabel(
        "% between classes: share of the features' variance that lies between the classes of the truth", fontsize=8
    )
    bar = figure.colorbar(picture, ax=grid, shrink=0.6, aspect=30, pad=0.01)
    bar.set_label("features, mean over channels")
    bar.outline.set_visible(False)
    return figure


@dataclass(frozen=True)
class CovarianceFigures:
    """The numbers of each class, in the data set's order; None for a class that was never seen."""

    pixels: tuple[int, ...]
    """Positions of the student's feature map that were counted, over all steps."""
    variance: tuple[float | None, ...]
    """Trace of the covariance: the variance summed over channels."""
    effective_rank: tuple[float | None, ...]
    """Directions that the variance is spread over; of a diagonal covariance, channels, which is an upper bound."""
    channels: int
    """A, the most that the effective rank can be."""
    diagonal: bool
    """Whether only the variances of single channels were estimated."""


def effective_rank(covariance: Tensor) -> Tensor:
    """Exponential of the entropy of the eigenvalues, scaled to sum to 1.

    It is 1 where all variance lies in one direction and A where it is the same in all. Of a diagonal, its entries take
    the place of the eigenvalues; by Schur's theorem that is never less than the rank of the whole matrix.

    Source: Roy and Vetterli 2007.

    Args:
        covariance: (C, A) diagonals, or (C, A, A).

    Returns:
        (C,) float64; NaN where there is no variance.

    Example:
        >>> effective_rank(torch.tensor([[1.0, 1.0, 0.0], [5.0, 0.0, 0.0]])).tolist()
        [2.0, 1.0]
    """
    spectrum = covariance.double() if covariance.ndim == 2 else torch.linalg.eigvalsh(covariance.double())
    share = spectrum.clamp_min(0)  # rounding leaves tiny negative eigenvalues
    share = share / share.sum(1, keepdim=True)
    return torch.exp(torch.special.entr(share).sum(1))


def covariance_figures(count: Tensor, covariance: Tensor) -> CovarianceFigures:
    """Compute the numbers of every class.

    Args:
        count: (C,) pixels.
        covariance: (C, A) diagonals, or (C, A, A).
    """
    diagonal = covariance.ndim == 2
    variances = (covariance if diagonal else covariance.diagonal(dim1=1, dim2=2)).double().sum(1)
    return CovarianceFigures(
        pixels=tuple(count.tolist()),
        variance=_where(count > 0, variances),
        effective_rank=_where((count > 0) & (variances > 0), effective_rank(covariance)),
        channels=covariance.shape[1],
        diagonal=diagonal,
    )


def read_covariance(folder: Path) -> CovarianceFigures | None:
    """Read what a run's last checkpoint holds; None if it has no checkpoint or its method keeps no covariance."""
    path = RunFolder(folder).last
    if not path.is_file():
        return None
    state = read_torch_file(path)["state_dict"]
    if f"{_STATE}covariance" not in state:
        return None
    return covariance_figures(state[f"{_STATE}count"], state[f"{_STATE}covariance"])


def covariance_growth(run: Run) -> list[tuple[int, float]]:
    """(step, mean variance of the classes seen so far), where the run has logged it."""
    return [(step + 1, value) for step, value in run.metrics.get(_GROWTH, [])]


def draw_covariance(
    found: Mapping[str, Sequence[CovarianceFigures]], classes: Sequence[str], looks: Mapping[str, Look]
) -> Figure:
    """Draw the three numbers of every class, a point for each run.

    Args:
        found: by method, one a seed.
        classes: C names.
        looks: by method.
    """
    figure = Figure(figsize=(10, rows_height(len(classes), 2) + 1.7))
    panels = figure.subplots(1, 3, sharey=True)
    step = 0.5 / len(found)
    for number, (method, runs) in enumerate(found.items()):
        look = looks[method]
        rows = [place + (number - (len(found) - 1) / 2) * step for place in range(len(classes))]
        for seed, run in enumerate(runs):
            for axes, values in zip(panels, (run.variance, run.effective_rank, run.pixels), strict=True):
                axes.plot(
                    as_floats([value or None for value in values]),  # a logarithm has no place for 0
                    rows,
                    look.marker,
                    ms=5,
                    color=look.colour,
                    alpha=0.75,
                    markeredgewidth=0,
                    label=None if seed else method,
                )
    channels = max(run.channels for runs in found.values() for run in runs)
    diagonal = any(run.diagonal for runs in found.values() for run in runs)
    variance, rank, pixels = panels
    variance.set(xlabel="variance, summed over channels")
    set_logarithmic(variance, "{x:g}")
    rank.set(xlim=(0, None), xlabel=f"effective rank, {channels} channels" + (" *" if diagonal else ""))
    pixels.set(xlabel="feature positions counted")
    set_logarithmic(pixels, EngFormatter(sep=""))
    variance.set_yticks(range(len(classes)), classes)
    variance.set_ylim(len(classes) - 0.5, -0.5)
    for axes in panels:
        axes.grid()
    variance.set_title("Covariance of the student's features by class; a point is a run")
    if diagonal:
        figure.supxlabel(
            "* where the covariance is diagonal, of the channels: an upper bound", fontsize=8, x=0.98, ha="right"
        )
    figure.legend(*variance.get_legend_handles_labels(), loc="outside upper center", ncols=3)
    return figure


def draw_covariance_growth(
    growth: Mapping[str, Sequence[Sequence[tuple[int, float]]]], looks: Mapping[str, Look]
) -> Figure:
    """Draw how the mean variance of the classes grows with the steps, a line for each run.

    Args:
        growth: by method, one series of `covariance_growth` a seed.
        looks: by method.
    """
    figure = Figure(figsize=(7, 4))
    axes = figure.subplots()
    for method, runs in growth.items():
        for seed, series in enumerate(runs):
            steps, values = zip(*series, strict=True)
            axes.plot(steps, values, color=looks[method].colour, lw=1.5, label=None if seed else method)
    axes.set_title("How the estimated variance grows")
    axes.set(
        xlabel="step", ylabel="variance summed over channels,\nmean of the classes", xlim=(0, None), ylim=(0, None)
    )
    axes.grid()
    figure.legend(*axes.get_legend_handles_labels(), loc="outside lower center", ncols=3)
    return figure


def _where(condition: Tensor, values: Tensor) -> tuple[float | None, ...]:
    return tuple(value if there else None for there, value in zip(condition.tolist(), values.tolist(), strict=True))
