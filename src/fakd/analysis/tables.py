"""Groups of runs as tables, and any table as text: for a document, for LaTeX, for the terminal."""

import re
from collections.abc import Sequence

from rich import box
from rich.table import Table
from rich.text import Text

from fakd.analysis.groups import Group
from fakd.analysis.statistics import spread_text

_LATEX = {
    **{character: f"\\{character}" for character in "&%$#_{}"},
    **{"\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}"},
    **{"<": "$<$", ">": "$>$", "±": r"$\pm$", "Δ": r"$\Delta$"},
}


def score_lines(groups: Sequence[Group]) -> list[list[str]]:
    """Scores and cost of each group: mean and, of several seeds, the sample standard deviation."""
    lines = [["", "mIoU %", "mAcc %", "parameters", "s / step", "seconds"]]
    for group in groups:
        shown = {"mIoU": 2, "mAcc": 2, "seconds_per_step": 3, "seconds": 0}
        miou, macc, *times = (spread_text(group.spread(name), digits) for name, digits in shown.items())
        lines.append([group.label, miou, macc, f"{group.parameters:,}", *times])
    return lines


def class_lines(groups: Sequence[Group], names: Sequence[str]) -> list[list[str]]:
    """IoU of every class: a row a class, a column a group; a score that a seed lacks is not averaged over the others.

    Args:
        groups: of finished runs.
        names: the headings of their columns.
    """

    def shown(group: Group, name: str) -> str:
        known = all(run.result("IoU", name) is not None for run in group.runs)
        return spread_text(group.spread("IoU", name) if known else None, 1)

    return [["IoU %", *names], *([name, *(shown(group, name) for group in groups)] for name in groups[0].classes)]


def rich_lines(lines: Sequence[Sequence[str]], title: str | None = None) -> Table:
    """A table for the terminal, numbers to the right.

    Args:
        lines: the head, and the rows; the first column is text.
        title: what stands above it.
    """
    head, *rows = lines
    table = Table(*head, title=title, box=box.SIMPLE_HEAD, pad_edge=False, collapse_padding=True)
    for column in table.columns[1:]:
        column.justify, column.no_wrap = "right", True
    for row in rows:
        table.add_row(*map(Text, row))
    return table


def markdown_lines(lines: Sequence[Sequence[str]], numbers: bool = True) -> str:
    """A table as Markdown, the first column to the left.

    Args:
        lines: the head, and the rows.
        numbers: whether the other columns are numbers, which stand to the right.
    """
    head, *rows = ([cell.replace("|", "\\|").replace("\n", " ") for cell in line] for line in lines)
    marked = [head, ["---", *("---:" if numbers else "---" for _ in head[1:])], *rows]
    return "".join(f"| {' | '.join(cells)} |\n" for cells in marked)


def latex_lines(lines: Sequence[Sequence[str]]) -> str:
    """A table as LaTeX, for the package booktabs.

    Args:
        lines: the head, and the rows; plain text, in which LaTeX's own characters are escaped here.
    """
    head, *rows = (" & ".join(map(escape_latex, line)) + r" \\" for line in lines)
    begin = f"\\begin{{tabular}}{{l{'r' * (len(lines[0]) - 1)}}}"
    return "\n".join([begin, r"\toprule", head, r"\midrule", *rows, r"\bottomrule", r"\end{tabular}", ""])


def escape_latex(text: str) -> str:
    """Plain text as LaTeX sets it, with minus signs before numbers.

    Example:
        >>> escape_latex("50 % of fakd_pixel: -1.5")
        '50 \\\\% of fakd\\\\_pixel: $-$1.5'
    """
    escaped = "".join(_LATEX.get(character, character) for character in text)
    return re.sub(r"(?<![\w.-])-(?=\d)", "$-$", escaped)
