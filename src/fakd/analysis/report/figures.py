"""The plots, drawn by Plotly in the reader's browser; colours of the page are set there."""

import html
import json
from collections.abc import Sequence
from functools import partial
from itertools import cycle, islice
from statistics import mean
from typing import Any

import plotly.graph_objects as go

from fakd.analysis.groups import ALONE, Group, find_alone
from fakd.analysis.runs import Run

# Okabe and Ito's colours, which colour-blind readers can tell apart, without black and yellow; seen on light and dark.
_COLOURS = ("#0072b2", "#e69f00", "#009e73", "#d55e00", "#cc79a7", "#56b4e9", "#a6761d", "#7570b3")
_ALONE, _TEACHER = "#888888", "#b22222"
_DASHES = ("solid", "dash", "dot", "dashdot")
_SYMBOLS = ("circle", "diamond", "square", "cross")
_POINTS = 200
SCORE = "val/mIoU"


def colours(groups: Sequence[Group]) -> dict[str, tuple[str, int]]:
    """A colour for each group by its label, and how often the colours were gone through before it."""
    wheel = enumerate(cycle(_COLOURS))
    chosen = {}
    for group in groups:
        if group.method in (None, ALONE):
            chosen[group.label] = (_TEACHER if group.method is None else _ALONE, 0)
        else:
            index, colour = next(wheel)
            chosen[group.label] = (colour, index // len(_COLOURS))
    return chosen


def curves(groups: Sequence[Group]) -> dict[str, Any] | None:
    """Every logged value over the steps, a line for each run; the page shows one kind of value at a time.

    Returns:
        Plotly's figure, whose traces name their value in `meta`; None if nothing was logged.
    """
    paint, figure = colours(groups), go.Figure()
    for group in groups:
        colour, round_ = paint[group.label]
        first = set()
        for run in group.runs:
            for name, points in run.metrics.items():
                steps, values = zip(*_thinned(points), strict=True)
                seed = f", seed {run.config['seed']}" if len(group.runs) > 1 else ""
                figure.add_scatter(
                    x=steps,
                    y=values,
                    mode="lines+markers" if len(steps) < 20 else "lines",
                    name=_text(group.label),
                    legendgroup=group.label,
                    showlegend=name not in first,
                    line={"color": colour, "dash": _DASHES[round_ % len(_DASHES)], "width": 1.6},
                    meta=name,
                    visible=name == SCORE,
                    hovertemplate=f"{_text(group.label + seed)}<br>step %{{x}}: %{{y:.4~g}}<extra></extra>",
                )
                first.add(name)
    figure.update_layout(xaxis_title="optimizer step", height=420, hovermode="closest")
    return _plain(figure) if figure.data else None


def logged_names(groups: Sequence[Group]) -> list[str]:
    """The kinds of values that were logged: the scores first, then the loss and its terms."""
    names = {name for group in groups for run in group.runs for name in run.metrics}
    return sorted(names, key=lambda name: (name != SCORE, not name.startswith("val/"), name != "loss/total", name))


def class_gains(groups: Sequence[Group]) -> dict[str, Any] | None:
    """Gain of each method over the student alone in every class, the hardest class on top; None without the latter."""
    paint, figure = colours(groups), go.Figure()
    pairs = [(group, alone) for group in groups if (alone := find_alone(group, groups)) is not None]
    if not pairs:
        return None
    classes = _by_difficulty(pairs[0][1])
    for group, alone in pairs:
        gains = [(name, group.gain(alone, partial(class_iou, name=name))) for name in classes]
        known = [(name, gain) for name, gain in gains if gain is not None]
        colour, round_ = paint[group.label]
        figure.add_scatter(
            x=[round(gain.mean, 2) for _, gain in known],
            y=[_text(name) for name, _ in known],
            error_x={"array": [round(gain.sd or 0, 2) for _, gain in known], "thickness": 1, "width": 3},
            mode="markers",
            name=_text(group.label),
            marker={"color": colour, "size": 9, "symbol": _SYMBOLS[round_ % len(_SYMBOLS)]},
            hovertemplate=f"{_text(group.label)}<br>%{{y}}: %{{x:+.2f}} points<extra></extra>",
        )
    figure.update_layout(
        xaxis_title="gain in IoU, points",
        yaxis={
            "type": "category",
            "categoryorder": "array",
            "categoryarray": [_text(name) for name in classes][::-1],
            "dtick": 1,
        },
        height=140 + 26 * len(classes),
        hovermode="closest",
    )
    return _plain(figure)


def class_iou(run: Run, name: str) -> float | None:
    """IoU of a class in percent; None where it could not be scored."""
    value: float | None = run.results["IoU"].get(name)
    return value


def _by_difficulty(alone: Group) -> list[str]:
    """The classes, the one with the lowest IoU of the student alone first."""

    def iou(name: str) -> float:
        found = alone.spread(lambda run: class_iou(run, name))
        return found.mean if found is not None else float("inf")

    return sorted(alone.runs[0].results["IoU"], key=iou)


def _thinned(points: Sequence[tuple[int, float]]) -> list[tuple[int, float]]:
    """At most so many points that a screen can show: means of neighbours, at the last one's step."""
    size = -(-len(points) // _POINTS)
    parts = [list(islice(points, start, start + size)) for start in range(0, len(points), size)]
    # Steps are counted from 0 in the logs; a reader counts those that are done.
    return [(part[-1][0] + 1, float(f"{mean(value for _, value in part):.4g}")) for part in parts]


def _text(name: str) -> str:
    """A name as Plotly must be given it, since it takes some tags in texts for markup."""
    return html.escape(name, quote=False).replace("%{", "% {")


def _plain(figure: go.Figure) -> dict[str, Any]:
    figure.update_layout(template={})  # the page has its own
    content: dict[str, Any] = json.loads(figure.to_json())
    return content
