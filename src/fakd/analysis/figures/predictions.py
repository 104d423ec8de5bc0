"""Where predictions are wrong: at the boundaries of classes, where the network is sure, and what is taken for what."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean

import numpy as np
from matplotlib.colors import PowerNorm
from matplotlib.container import BarContainer
from matplotlib.figure import Figure
from torch import Tensor

from fakd.analysis.figures.style import Look, draw_bars, rows_height
from fakd.analysis.pixel_counts import PixelCounts
from fakd.analysis.statistics import Spread, parts, spread_text
from fakd.evaluation import scores_from_confusion

_MOST_WITH_NUMBERS = 25


@dataclass(frozen=True)
class BoundaryScores:
    """Scores of one network in a band around the boundaries, and outside it; in percent.

    None where there is no such pixel.
    """

    share: float
    """Labelled pixels in the band, percent of all."""
    boundary_accuracy: float | None
    interior_accuracy: float | None
    boundary_mIoU: float | None
    interior_mIoU: float | None


def boundary_scores(measured: PixelCounts) -> BoundaryScores:
    """Score the two parts by themselves; only predictions for a part's own pixels count in its IoU."""
    near, far = int(measured.boundary.sum()), int(measured.interior.sum())
    names = [str(index) for index in range(len(measured.boundary))]
    boundary = scores_from_confusion(measured.boundary, names) if near else None
    interior = scores_from_confusion(measured.interior, names) if far else None
    return BoundaryScores(
        share=100 * near / (near + far),
        boundary_accuracy=boundary.aAcc if boundary else None,
        interior_accuracy=interior.aAcc if interior else None,
        boundary_mIoU=boundary.mIoU if boundary else None,
        interior_mIoU=interior.mIoU if interior else None,
    )


def draw_boundary(
    scores: Mapping[str, Mapping[str, Spread | None]], shares: Sequence[float], band: int, looks: Mapping[str, Look]
) -> Figure:
    """Draw pixel accuracy and mIoU, in the band and outside it, by method.

    Args:
        scores: by method and field of `BoundaryScores`, mean and deviation over seeds.
        shares: percent of the pixels that are in the band.
        band: its width in pixels.
        looks: by method.
    """
    share = fmean(shares)
    rows = [f"within {band} px of\na boundary\n({share:.0f} % of pixels)", f"elsewhere\n({100 - share:.0f} %)"]
    figure = Figure(figsize=(9, max(1.6, rows_height(2, 2 * len(scores))) + 1.2))
    for axes, measure in zip(figure.subplots(1, 2, sharey=True), ("accuracy", "mIoU"), strict=True):
        shown = {
            method: [values[f"{place}_{measure}"] for place in ("boundary", "interior")]
            for method, values in scores.items()
        }
        draw_bars(axes, rows, shown, looks)
        bars_by_method = [container for container in axes.containers if isinstance(container, BarContainer)]
        for found, bars in zip(shown.values(), bars_by_method, strict=True):
            for bar, value in zip(bars, found, strict=True):
                end = sum(part or 0 for part in parts(value))
                middle = bar.get_y() + bar.get_height() / 2
                axes.text(end + 1, middle, spread_text(value, 1), va="center", fontsize=8)
        axes.set(
            xlabel=f"{'pixel accuracy' if measure == 'accuracy' else measure}, %",
            xlim=(0, 120),
            xticks=range(0, 101, 20),
        )
    figure.legend(*axes.get_legend_handles_labels(), loc="outside upper center", ncols=4)
    return figure


def expected_calibration_error(counts: Tensor) -> float:
    """The mean distance, over all pixels, between the accuracy and the mean confidence of their bin; in percent.

    Source: Guo et al. 2017, Eq. 3.

    Args:
        counts: (3, bins) of `calibration_counts`.

    Example:
        >>> import torch
        >>> expected_calibration_error(torch.tensor([[0.0, 4.0], [0.0, 2.0], [0.0, 3.0]]))  # 50 % right, 75 % sure
        25.0
    """
    pixels, right, confidence = counts
    return float(100 * (right - confidence).abs().sum() / pixels.sum())


def draw_calibration(
    counts: Mapping[str, Tensor], errors: Mapping[str, Spread | None], looks: Mapping[str, Look]
) -> Figure:
    """Draw accuracy over confidence, and below it how many pixels there are of each confidence.

    Args:
        counts: by method, (3, bins) of `calibration_counts`, of all seeds together.
        errors: by method, expected calibration error in percent, mean and deviation over seeds.
        looks: by method.
    """
    figure = Figure(figsize=(6.5, 8))
    reliability, amounts = figure.subplots(2, 1, sharex=True, height_ratios=[4, 1.3])
    reliability.plot([0, 100], [0, 100], color="#333333", lw=0.8, ls="--", label="perfectly calibrated")
    for method, table in counts.items():
        pixels, right, confidence = table.numpy()
        some = pixels > 0
        look = looks[method]
        reliability.plot(
            100 * confidence[some] / pixels[some],
            100 * right[some] / pixels[some],
            marker=look.marker,
            ms=5,
            lw=1.5,
            color=look.colour,
            label=f"{method}: ECE {spread_text(errors[method], 1)} %",
        )
        edges = np.linspace(0, 100, table.shape[1] + 1)
        amounts.stairs(100 * pixels / pixels.sum(), edges, color=look.colour, lw=1.5)
    reliability.set(ylabel="pixels that are right, %", xlim=(0, 100), ylim=(0, 100))
    reliability.set_title("Above the dashed line a network is too cautious, below it too sure")
    figure.legend(*reliability.get_legend_handles_labels(), loc="outside lower center", ncols=2)
    reliability.tick_params(axis="x", labelbottom=True)
    amounts.set(xlabel="confidence, %", ylabel="share of pixels, %")
    for axes in (reliability, amounts):
        axes.grid()
    return figure


def row_shares(confusion: Tensor) -> Tensor:
    """Percentages of each true class's pixels by predicted class.

    Args:
        confusion: (C, C) counts [truth, prediction].

    Returns:
        (C, C) float64 whose rows sum to 100; NaN where the truth has no pixel of the class.
    """
    counts = confusion.double()
    return 100 * counts / counts.sum(1, keepdim=True)


def draw_confusion(confusion: Tensor, classes: Sequence[str], title: str) -> Figure:
    """Draw the shares as colours, with numbers too where the classes are few enough for that.

    Args:
        confusion: (C, C) counts [truth, prediction].
        classes: C names.
        title: of the figure.
    """
    shares = row_shares(confusion).numpy()
    few = len(classes) <= _MOST_WITH_NUMBERS
    side = (0.42 if few else 0.16) * len(classes)
    figure = Figure(figsize=(side + 3.2, side + 2.2))
    axes = figure.subplots()
    # The root shows confusions of a few percent, which a linear scale would leave white.
    picture = axes.imshow(shares, cmap="Blues", norm=PowerNorm(0.5, 0, 100))
    axes.set_facecolor("#DDDDDD")  # shows where there is no share
    ticks, size = np.arange(len(classes)), 9 if few else 7
    axes.set_xticks(ticks, classes, rotation=90, fontsize=size)
    axes.set_yticks(ticks, classes, fontsize=size)
    axes.set(xlabel="predicted class", ylabel="true class")
    axes.set_title(title)
    axes.spines[:].set_visible(False)
    axes.set_xticks(ticks[1:] - 0.5, minor=True)
    axes.set_yticks(ticks[1:] - 0.5, minor=True)
    axes.grid(which="minor", color="white", lw=1 if few else 0.3, alpha=1)
    axes.tick_params(which="both", length=0)
    if few:
        for row, column in np.argwhere(shares >= 0.5):
            value = shares[row, column]
            axes.text(
                column, row, f"{value:.0f}", ha="center", va="center", fontsize=8, color="white" if value > 40 else "k"
            )
    bar = figure.colorbar(picture, ax=axes, shrink=min(1.0, 5 / side), aspect=25, pad=0.02)
    bar.set_label("% of the true class's pixels")
    bar.outline.set_visible(False)
    return figure
