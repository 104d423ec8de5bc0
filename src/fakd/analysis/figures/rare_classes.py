"""Whether a method helps the rare classes or the frequent ones."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import product

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.transforms import BboxBase
from scipy.stats import spearmanr

from fakd.analysis.figures.style import Look, set_logarithmic

_FEWEST = 3
_MOST_NAMED = 30


@dataclass(frozen=True)
class RankCorrelation:
    """Spearman's coefficient, and the probability of one as far from 0 among unrelated values."""

    rho: float
    p: float


def rank_correlation(shares: Sequence[float], gains: Sequence[float | None]) -> RankCorrelation | None:
    """Correlate ranks: below 0, rarer classes gained more.

    Args:
        shares: of the pixels, one a class; classes with none are left out.
        gains: one a class, None where there is none.

    Returns:
        The correlation; None for fewer than 3 classes, or where all shares or all gains are equal.
    """
    pairs = [(share, gain) for share, gain in zip(shares, gains, strict=True) if share > 0 and gain is not None]
    if len(pairs) < _FEWEST or any(len(set(values)) == 1 for values in zip(*pairs, strict=True)):
        return None
    found = spearmanr(*zip(*pairs, strict=True))
    return RankCorrelation(float(found.statistic), float(found.pvalue))


def draw_rare_classes(
    classes: Sequence[str],
    shares: Sequence[float],
    gains: Mapping[str, Sequence[float | None]],
    correlations: Mapping[str, RankCorrelation | None],
    looks: Mapping[str, Look],
    baseline: str,
) -> Figure:
    """Draw each class's gain over its share of the training pixels.

    Args:
        classes: names.
        shares: percent of the labelled training pixels, one a class; those with none are left out.
        gains: by method, in percentage points, one a class.
        correlations: by method.
        looks: by method.
        baseline: what the gains are over.
    """
    figure = Figure(figsize=(9, 5.5))
    axes = figure.subplots()
    for method, values in gains.items():
        points = [(share, gain) for share, gain in zip(shares, values, strict=True) if share > 0 and gain is not None]
        look, found = looks[method], correlations[method]
        note = "" if found is None else f": rank correlation {found.rho:+.2f} (p = {found.p:.2g})"
        x, y = zip(*points, strict=True) if points else ((), ())
        axes.plot(x, y, look.marker, ms=6, color=look.colour, alpha=0.85, markeredgewidth=0, label=method + note)
    axes.axhline(0, color="#333333", lw=0.8)
    axes.set(xlabel="share of the labelled training pixels, %")
    set_logarithmic(axes, "{x:g}")
    axes.set_ylabel(f"IoU gained over {baseline}, percentage points")
    axes.set_title("Rare classes on the left, frequent ones on the right")
    axes.grid()
    axes.margins(0.07, 0.12)
    figure.legend(*axes.get_legend_handles_labels(), loc="outside lower center", ncols=1 if len(gains) < 5 else 2)
    extremes = [
        (name, share, max(there, key=abs))
        for name, share, *values in zip(classes, shares, *gains.values(), strict=True)
        if share > 0 and (there := [value for value in values if value is not None])
    ]
    _name_points(axes, sorted(extremes, key=lambda point: -abs(point[2])))
    return figure


def _name_points(axes: Axes, points: Sequence[tuple[str, float, float]]) -> None:
    """Write the name beyond each class's point that is farthest from 0, or if another is there, on its other side.

    Names for which there is no room are left out, and where there are many classes, those closest to 0.
    """
    figure = axes.figure
    figure.draw_without_rendering()  # type: ignore[union-attr]  # places the axes, so that sizes are known
    taken: list[BboxBase] = []
    named: set[str] = set()
    for (name, share, gain), turn in product(points[:_MOST_NAMED], (1, -1)):
        if name in named:
            continue
        up = turn * math.copysign(1, gain)
        text = axes.annotate(
            name, (share, gain), (0, 5 * up), textcoords="offset points", ha="center",
            va="bottom" if up > 0 else "top", fontsize=8, color="#333333",
        )  # fmt: skip
        box = text.get_window_extent()
        if any(box.overlaps(other) for other in taken):
            text.remove()
        else:
            taken.append(box)
            named.add(name)
