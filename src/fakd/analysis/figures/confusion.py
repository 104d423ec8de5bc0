"""What is taken for what: confusion matrices, each row a true class."""

from collections.abc import Sequence

import numpy as np
from matplotlib.colors import PowerNorm
from matplotlib.figure import Figure
from torch import Tensor

_MOST_WITH_NUMBERS = 25


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
