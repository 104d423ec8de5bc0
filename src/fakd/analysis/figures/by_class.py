"""IoU by class, what each method gains on it, and whether rare classes or frequent ones gain."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import product

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.transforms import BboxBase
from scipy.stats import spearmanr

from fakd.analysis.figures.style import Look, draw_bars, rows_height, set_logarithmic
from fakd.analysis.statistics import Spread, parts, spread

_FEWEST = 3
_MOST_NAMED = 30


@dataclass(frozen=True)
class ClassGains:
    """IoU gained over the student alone, by class; in percentage points."""

    classes: tuple[str, ...]
    """The hardest first, which is the one with the least IoU of the student alone; those it cannot be scored on are
    left out."""
    alone: tuple[float, ...]
    """IoU of the student alone in percent, in that order."""
    gains: dict[str, tuple[float | None, ...]]
    """By method, in that order; None where the method cannot be scored."""
    hard: dict[str, float | None]
    """By method, the mean gain over the harder half of the classes. Of an odd number, the one in the middle is in
    neither half."""
    easy: dict[str, float | None]
    """By method, the mean gain over the easier half."""
    mean: dict[str, float | None]
    """By method, the mean gain over all classes."""


def class_gains(iou: Mapping[str, Mapping[str, float | None]], baseline: str) -> ClassGains:
    """Order the classes by difficulty, and compute what each method gains.

    Args:
        iou: IoU in percent by method and class, None where there is none.
        baseline: the method that is the student alone.

    Example:
        >>> found = class_gains({"none": {"road": 90, "car": 40}, "fakd": {"road": 91, "car": 45}}, "none")
        >>> found.classes, found.gains, found.hard
        (('car', 'road'), {'fakd': (5, 1)}, {'fakd': 5.0})
    """
    alone = {name: value for name, value in iou[baseline].items() if value is not None}
    order = sorted(alone, key=alone.__getitem__)
    gains = {
        method: tuple(None if (value := values[name]) is None else value - alone[name] for name in order)
        for method, values in iou.items()
        if method != baseline
    }
    half = len(order) // 2
    return ClassGains(
        classes=tuple(order),
        alone=tuple(alone[name] for name in order),
        gains=gains,
        hard={method: parts(spread(values[:half]))[0] for method, values in gains.items()},
        easy={method: parts(spread(values[len(order) - half :]))[0] for method, values in gains.items()},
        mean={method: parts(spread(values))[0] for method, values in gains.items()},
    )


def draw_class_gains(found: ClassGains, looks: Mapping[str, Look], baseline: str) -> Figure:
    """Draw the gain in every class, the hardest at the top, below the means of the halves."""
    halves = {
        method: [spread([part[method]]) for part in (found.hard, found.easy, found.mean)] for method in found.gains
    }
    heights = [rows_height(3, len(halves)) + 0.2, rows_height(len(found.classes), len(halves))]
    figure = Figure(figsize=(8, sum(heights) + 1.7))
    means, classes = figure.subplots(2, 1, sharex=True, height_ratios=heights)
    draw_bars(means, ["harder half", "easier half", "all classes"], halves, looks)
    for bars in means.containers:
        means.bar_label(bars, fmt="{:+.1f}", padding=2, fontsize=8)
    rows = [f"{name}  ({alone:.1f})" for name, alone in zip(found.classes, found.alone, strict=True)]
    gains = {method: [spread([value]) for value in values] for method, values in found.gains.items()}
    draw_bars(classes, rows, gains, looks)
    classes.axhspan(-0.5, len(rows) // 2 - 0.5, color="#000000", alpha=0.05, lw=0)
    means.set_title("Mean gain")
    classes.set_title(f"Gain by class, hardest first; the harder half is shaded\n(in brackets: IoU of {baseline}, %)")
    classes.set_xlabel(f"IoU gained over {baseline}, percentage points")
    for axes in (means, classes):
        axes.axvline(0, color="#333333", lw=0.8)
        axes.tick_params(axis="x", labelbottom=True)
    figure.legend(*classes.get_legend_handles_labels(), loc="outside upper center", ncols=3)
    return figure


def draw_class_iou(
    iou: Mapping[str, Mapping[str, Spread | None]], classes: Sequence[str], looks: Mapping[str, Look]
) -> Figure:
    """Draw a bar for each method in every class.

    Args:
        iou: IoU in percent by method and class.
        classes: in the order of the rows, the first at the top.
        looks: by method.
    """
    figure = Figure(figsize=(8, rows_height(len(classes), len(iou)) + 1.4))
    axes = figure.subplots()
    shown = {method: [values[name] for name in classes] for method, values in iou.items()}
    draw_bars(axes, classes, shown, looks)
    several = any(parts(value)[1] is not None for values in shown.values() for value in values)
    axes.set_title("IoU by class" + ("; whiskers are ± one standard deviation over seeds" if several else ""))
    axes.set(xlabel="IoU, %", xlim=(0, 100))
    figure.legend(*axes.get_legend_handles_labels(), loc="outside upper center", ncols=3)
    return figure


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
