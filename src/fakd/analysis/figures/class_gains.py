"""IoU by class, and what each method gains on it."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean

from matplotlib.figure import Figure

from fakd.analysis.figures.style import Look, draw_bars, rows_height
from fakd.analysis.statistics import Spread, parts


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
        hard={method: _mean(values[:half]) for method, values in gains.items()},
        easy={method: _mean(values[len(order) - half :]) for method, values in gains.items()},
        mean={method: _mean(values) for method, values in gains.items()},
    )


def draw_class_gains(found: ClassGains, looks: Mapping[str, Look], baseline: str) -> Figure:
    """Draw the gain in every class, the hardest at the top, below the means of the halves."""
    halves = {method: [found.hard[method], found.easy[method], found.mean[method]] for method in found.gains}
    heights = [rows_height(3, len(halves)) + 0.2, rows_height(len(found.classes), len(halves))]
    figure = Figure(figsize=(8, sum(heights) + 1.7))
    means, classes = figure.subplots(2, 1, sharex=True, height_ratios=heights)
    draw_bars(means, ["harder half", "easier half", "all classes"], halves, looks)
    for bars in means.containers:
        means.bar_label(bars, fmt="{:+.1f}", padding=2, fontsize=8)
    rows = [f"{name}  ({alone:.1f})" for name, alone in zip(found.classes, found.alone, strict=True)]
    draw_bars(classes, rows, found.gains, looks)
    classes.axhspan(-0.5, len(rows) // 2 - 0.5, color="#000000", alpha=0.05, lw=0)
    means.set_title("Mean gain")
    classes.set_title(f"Gain by class, hardest first; the harder half is shaded\n(in brackets: IoU of {baseline}, %)")
    classes.set_xlabel(f"IoU gained over {baseline}, percentage points")
    for axes in (means, classes):
        axes.axvline(0, color="#333333", lw=0.8)
        axes.tick_params(axis="x", labelbottom=True)
    figure.legend(*classes.get_legend_handles_labels(), loc="outside upper center", ncols=3)
    return figure


def _mean(values: Iterable[float | None]) -> float | None:
    there = [value for value in values if value is not None]
    return fmean(there) if there else None


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
    means, deviations = (
        {method: [parts(values[name])[part] for name in classes] for method, values in iou.items()} for part in (0, 1)
    )
    draw_bars(axes, classes, means, looks, deviations)
    several = any(value is not None for values in deviations.values() for value in values)
    axes.set_title("IoU by class" + ("; whiskers are ± one standard deviation over seeds" if several else ""))
    axes.set(xlabel="IoU, %", xlim=(0, 100))
    figure.legend(*axes.get_legend_handles_labels(), loc="outside upper center", ncols=3)
    return figure
