"""Figures as pixels."""

from io import BytesIO

import numpy as np
from matplotlib import rc_context
from matplotlib.figure import Figure
from PIL import Image

from fakd.analysis.figures.style import STYLE


def styled():
    return rc_context(dict(STYLE))


def drawn(figure: Figure) -> np.ndarray:
    """The figure as (height, width, 3) colours; fails unless it shows something."""
    file = BytesIO()
    figure.savefig(file, format="png", dpi=60)
    picture = np.asarray(Image.open(file).convert("RGB"))
    assert picture.min() < 100 < picture.max() == 255
    return picture


def has_colour(picture: np.ndarray, colour: str) -> bool:
    """Whether a colour, as "#0072B2", covers some pixels."""
    wanted = [int(colour[i : i + 2], 16) for i in (1, 3, 5)]
    return int((np.abs(picture.astype(int) - wanted).max(-1) < 12).sum()) > 10


def texts(figure: Figure) -> list[str]:
    """All that is written in the figure."""
    from matplotlib.text import Text

    figure.draw_without_rendering()
    return [text.get_text() for text in figure.findobj(Text) if text.get_text()]
