"""The plots, drawn by Plotly in the reader's browser; colours of the page are set there."""

import html
import json
import math
from collections.abc import Sequence
from statistics import mean
from typing import Any

import plotly.graph_objects as go

from fakd.analysis.figures.style import Look, choose_looks
from fakd.analysis.groups import ALONE, Group

_DASHES = ("solid", "dash", "dot", "dashdot")
_SYMBOLS = ("circle", "diamond", "square", "cross")
_POINTS = 200
SCORE = "val/mIoU"


def curves(groups: Sequence[Group]) -> dict[str, Any] | None:
    """Every logged value over the steps, a line for each run; the page shows one kind of value at a time.

    Returns:
        Plotly's figure, whose traces name their value in `meta`; None if nothing was logged.
    """
    looks, figure = _looks(groups), go.Figure()
    for group in groups:
        look = looks[group.label]
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
                    line={"color": look.colour, "dash": _DASHES[look.turn % len(_DASHES)], "width": 1.6},
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
    looks, figure = _looks(groups), go.Figure()
    compared = [group for group in groups if group.baseline is not None]
    if not compared:
        return None
    classes = _by_difficulty(compared[0].baseline)
    for group in compared:
        known = [(name, gain) for name in classes if (gain := group.gain("IoU", name)) is not None]
        look = looks[group.label]
        figure.add_scatter(
            x=[round(gain.mean, 2) for _, gain in known],
            y=[_text(name) for name, _ in known],
            error_x={"array": [round(gain.sd or 0, 2) for _, gain in known], "thickness": 1, "width": 3},
            mode="markers",
            name=_text(group.label),
            marker={"color": look.colour, "size": 9, "symbol": _SYMBOLS[look.turn % len(_SYMBOLS)]},
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


def _looks(groups: Sequence[Group]) -> dict[str, Look]:
    alone = [group.label for group in groups if group.method == ALONE]
    return choose_looks(
        [group.label for group in groups], alone, [group.label for group in groups if group.method is None]
    )


def _by_difficulty(alone: Group | None) -> list[str]:
    """The classes, the one with the lowest IoU of the student alone first."""
    found = alone.class_iou() if alone else {}
    return sorted(found, key=lambda name: math.inf if (iou := found[name]) is None else iou.mean)


def _thinned(points: Sequence[tuple[int, float]]) -> list[tuple[int, float]]:
    """At most so many points that a screen can show: means of neighbours, at the last one's step."""
    size = -(-len(points) // _POINTS)
    parts = [points[start : start + size] for start in range(0, len(points), size)]
    # Steps are counted from 0 in the logs; a reader counts those that are done.
    return [(part[-1][0] + 1, float(f"{mean(value for _, value in part):.4g}")) for part in parts]


def _text(name: str) -> str:
    """A name as Plotly must be given it, since it takes some tags in texts for markup."""
    return html.escape(name, quote=False).replace("%{", "% {")


def _plain(figure: go.Figure) -> dict[str, Any]:
    figure.update_layout(template={})  # the page has its own
    content: dict[str, Any] = json.loads(figure.to_json())
    return content
