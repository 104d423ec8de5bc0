"""What the figures have in common: colours, sizes, bars by class."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import Formatter, LogLocator, NullFormatter

from fakd.analysis.statistics import Spread, parts

# Okabe and Ito's colours, which people with any kind of colour blindness can tell apart, and two more; yellow, which is
# too pale on white, and black, which is too dark on black, are left out, and grey is the baseline's.
_COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#56b4e9", "#e69f00", "#a6761d", "#7570b3")
_BASELINE, _TEACHER = "#888888", "#b22222"
_MARKERS = "oDs^vP"
_HATCHES = ("", "////", "....", "xxxx", "----", "++++")

STYLE: Mapping[str, Any] = {
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.axisbelow": True,
    "axes.titlesize": 11,
    "axes.titlelocation": "left",
    "figure.constrained_layout.use": True,
    "font.size": 9,
    "grid.alpha": 0.3,
    "hatch.linewidth": 0.5,
    "legend.frameon": False,
    "pdf.fonttype": 42,  # text stays text
    "svg.fonttype": "none",
    "savefig.dpi": 150,
    "text.parse_math": False,  # names of classes and methods may hold anything
}
"""matplotlib's settings, for `matplotlib.rc_context`."""


@dataclass(frozen=True)
class Look:
    """How a method is drawn, the same in every figure."""

    colour: str
    marker: str
    hatch: str
    """For areas: tells methods apart once the colours repeat."""
    turn: int = 0
    """How often the colours were gone through before this one."""


def choose_looks(names: Sequence[str], baselines: Collection[str], teachers: Collection[str] = ()) -> dict[str, Look]:
    """A look for each name; a baseline's is grey, a teacher's red, and the others have colours of their own."""
    looks = {name: Look(_BASELINE, "X", "") for name in baselines}
    looks |= {name: Look(_TEACHER, "P", "") for name in teachers}
    for place, name in enumerate(name for name in names if name not in looks):
        turn, colour = divmod(place, len(_COLOURS))
        looks[name] = Look(_COLOURS[colour], _MARKERS[place % len(_MARKERS)], _HATCHES[turn % len(_HATCHES)], turn)
    return looks


def rows_height(rows: int, bars: int) -> float:
    """Inches that `rows` rows of `bars` bars each need."""
    return rows * max(0.2, 0.1 * bars + 0.1)


def draw_bars(
    axes: Axes, rows: Sequence[str], values: Mapping[str, Sequence[Spread | None]], looks: Mapping[str, Look]
) -> None:
    """Draw horizontal bars, one of each name in every row, the first row at the top; whiskers are the deviations.

    Args:
        axes: where to draw.
        rows: labels of the rows.
        values: by name, one a row; None draws nothing.
        looks: by name.
    """
    places = np.arange(len(rows))
    thickness = 0.8 / len(values)
    for number, (name, found) in enumerate(values.items()):
        heights, whiskers = (as_floats([parts(value)[part] for value in found]) for part in (0, 1))
        look = looks[name]
        axes.barh(
            places + (number - (len(values) - 1) / 2) * thickness,
            heights,
            thickness,
            color=look.colour,
            hatch=look.hatch,
            edgecolor="white",
            linewidth=0.3,
            xerr=whiskers if np.isfinite(whiskers).any() else None,
            error_kw={"elinewidth": 0.8, "ecolor": "#333333"},
            label=name,
        )
    axes.set_yticks(places, rows)
    axes.tick_params(axis="y", length=0)
    axes.set_ylim(len(rows) - 0.5, -0.5)
    axes.grid(axis="x")


def set_logarithmic(axes: Axes, form: Formatter | str) -> None:
    """Make the x axis logarithmic and label it at 1, 2 and 5 times the powers of ten, without mathematical text.

    Call it once all is drawn; an axis without positive values stays as it is.
    """
    if not np.isfinite(axes.dataLim.minposx):
        return
    axes.set_xscale("log")
    axis = axes.xaxis
    axis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axis.set_major_formatter(form)
    axis.set_minor_formatter(NullFormatter())


def as_floats(values: Sequence[float | None]) -> np.ndarray[Any, np.dtype[np.float64]]:
    """As an array, NaN for None, which matplotlib leaves out."""
    return np.array([np.nan if value is None else value for value in values], dtype=np.float64)
