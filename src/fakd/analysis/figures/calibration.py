"""Whether a network is right as often as it is sure: reliability diagram and expected calibration error."""

from collections.abc import Mapping

import numpy as np
from matplotlib.figure import Figure
from torch import Tensor

from fakd.analysis.figures.style import Look
from fakd.analysis.statistics import Spread, spread_text


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
    reliability.legend(loc="upper left")
    reliability.tick_params(axis="x", labelbottom=True)
    amounts.set(xlabel="confidence, %", ylabel="share of pixels, %")
    for axes in (reliability, amounts):
        axes.grid()
    return figure
