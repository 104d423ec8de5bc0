"""IoU of every class, by method (Figure 4 of the FAKD paper)."""

from collections.abc import Mapping, Sequence

from matplotlib.figure import Figure

from fakd.analysis.figures.style import Look, draw_bars, rows_height
from fakd.analysis.paired import Spread, parts


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
