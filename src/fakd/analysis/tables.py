"""Runs as tables, and any table as text."""

import re
from collections.abc import Mapping, Sequence
from statistics import mean, stdev

from rich import box
from rich.table import Table
from rich.text import Text

from fakd.analysis.runs import Run

_COLUMNS = ("mIoU %", "mAcc %", "parameters", "s / step", "seconds")
_LATEX = {
    **{character: f"\\{character}" for character in "&%$#_{}"},
    **{"\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}"},
    **{"<": "$<$", ">": "$>$", "±": r"$\pm$", "Δ": r"$\Delta$"},
}


def comparison_rows(runs: Mapping[str, Sequence[Run]]) -> list[list[str]]:
    """A row of text for each name: mean and, of several seeds, the sample standard deviation.

    Args:
        runs: by the name of the row, the runs of its seeds.
    """
    rows = []
    for name, seeds in runs.items():
        results = [run.results for run in seeds]
        rows.append(
            [
                name,
                _spread([result["mIoU"] for result in results], 2),
                _spread([result["mAcc"] for result in results], 2),
                f"{results[0]['parameters']:,}",
                _spread([result["seconds_per_step"] for result in results], 3),
                _spread([result["seconds"] for result in results], 0),
            ]
        )
    return rows


def rich_table(runs: Mapping[str, Sequence[Run]]) -> Table:
    """The comparison for the terminal."""
    table = Table("", *_COLUMNS)
    for column in table.columns[1:]:
        column.justify = "right"
    for row in comparison_rows(runs):
        table.add_row(*row)
    return table


def markdown_table(runs: Mapping[str, Sequence[Run]]) -> str:
    """The comparison for a document."""
    return markdown_lines([["", *_COLUMNS], *comparison_rows(runs)])


def class_table(runs: Mapping[str, Sequence[Run]]) -> str:
    """IoU of every class as Markdown: a row a class, a column a name, the mean over seeds."""
    classes = next(iter(runs.values()))[0].results["IoU"]
    lines = [["IoU %", *runs]]
    for name in classes:
        values = [[run.results["IoU"][name] for run in seeds] for seeds in runs.values()]
        lines.append([name, *("-" if None in seeds else _spread(seeds, 1) for seeds in values)])
    return markdown_lines(lines)


def rich_lines(lines: Sequence[Sequence[str]]) -> Table:
    """A table for the terminal, numbers to the right.

    Args:
        lines: the head, and the rows; the first column is text.
    """
    head, *rows = lines
    table = Table(*head, box=box.SIMPLE_HEAD, pad_edge=False, collapse_padding=True)
    for column in table.columns[1:]:
        column.justify, column.no_wrap = "right", True
    for row in rows:
        table.add_row(*map(Text, row))
    return table


def markdown_lines(lines: Sequence[Sequence[str]]) -> str:
    """A table as Markdown, the first column to the left.

    Args:
        lines: the head, and the rows.
    """
    head, *rows = ([cell.replace("|", "\\|") for cell in line] for line in lines)
    marked = [head, ["---", *("---:" for _ in head[1:])], *rows]
    return "".join(f"| {' | '.join(cells)} |\n" for cells in marked)


def latex_lines(lines: Sequence[Sequence[str]]) -> str:
    """A table as LaTeX, for the package booktabs.

    Args:
        lines: the head, and the rows; plain text, in which LaTeX's own characters are escaped here.
    """
    head, *rows = (" & ".join(map(escape_latex, line)) + r" \\" for line in lines)
    columns = "l" + "r" * (len(lines[0]) - 1)
    return "\n".join(
        [
            f"\\begin{{tabular}}{{{columns}}}",
            r"\toprule",
            head,
            r"\midrule",
            *rows,
            r"\bottomrule",
            r"\end{tabular}",
            "",
        ]
    )


def escape_latex(text: str) -> str:
    """Plain text as LaTeX sets it, with minus signs before numbers.

    Example:
        >>> escape_latex("50 % of fakd_pixel: -1.5")
        '50 \\\\% of fakd\\\\_pixel: $-$1.5'
    """
    escaped = "".join(_LATEX.get(character, character) for character in text)
    return re.sub(r"(?<![\w.-])-(?=\d)", "$-$", escaped)


def _spread(values: Sequence[float], digits: int) -> str:
    centre = f"{mean(values):.{digits}f}"
    return f"{centre} ± {stdev(values):.{digits}f}" if len(values) > 1 else centre
