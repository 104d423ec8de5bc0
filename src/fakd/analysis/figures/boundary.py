"""Whether pixels are right close to a boundary between classes, and away from it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean

import numpy as np
from matplotlib.container import BarContainer
from matplotlib.figure import Figure

from fakd.analysis.figures.style import Look, as_floats, draw_bars, rows_height
from fakd.analysis.measured import Measured
from fakd.analysis.statistics import Spread, parts, spread_text
from fakd.evaluation import scores_from_confusion


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


def boundary_scores(measured: Measured) -> BoundaryScores:
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
        means, deviations = (
            {
                method: [parts(values[f"{place}_{measure}"])[part] for place in ("boundary", "interior")]
                for method, values in scores.items()
            }
            for part in (0, 1)
        )
        draw_bars(axes, rows, means, looks, deviations)
        bars_by_method = [container for container in axes.containers if isinstance(container, BarContainer)]
        for method, bars in zip(means, bars_by_method, strict=True):
            texts = [spread_text(scores[method][f"{place}_{measure}"], 1) for place in ("boundary", "interior")]
            ends = as_floats(means[method]) + np.nan_to_num(as_floats(deviations[method]))
            for bar, text, end in zip(bars, texts, np.nan_to_num(ends), strict=True):
                axes.text(end + 1, bar.get_y() + bar.get_height() / 2, text, va="center", fontsize=8)
        axes.set(
            xlabel=f"{'pixel accuracy' if measure == 'accuracy' else measure}, %",
            xlim=(0, 120),
            xticks=range(0, 101, 20),
        )
    figure.legend(*axes.get_legend_handles_labels(), loc="outside upper center", ncols=4)
    return figure
