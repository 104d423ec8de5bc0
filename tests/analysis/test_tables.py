"""Numbers over seeds, and tables as text that other programs read."""

import csv
import io
import shutil
import subprocess
from types import SimpleNamespace

import pytest
from scipy import stats

from fakd.analysis.paper_rows import paper_rows
from fakd.analysis.published import published_student, published_teacher, teacher_network
from fakd.analysis.statistics import Difference, Spread, paired_difference, spread
from fakd.analysis.tables import escape_latex, latex_lines, markdown_lines, rich_lines
from fakd.console import console
from fakd.experiments.comparison import Comparison, Row
from fakd.experiments.comparison_table import csv_text, short_lines, table_lines


def row(**changes: object) -> Row:
    values = {
        **{"label": "fakd_x & y", "student": "pspnet-r18", "method": "fakd", "options": {"strength": 0.5}},
        **{"baseline": "student alone", "runs": {0: None, 2: None}, "parameters": 1234567, "gmacs": 12.345},
        "scores": {"mIoU": Spread(40.0, 1.25), "mAcc": Spread(50.0, None)},
        "differences": {"mIoU": Difference(-1.5, -2.25, -0.75, 2), "mAcc": Difference(-0.001, None, None, 1)},
        **{"steps": 400, "seconds_per_step": Spread(0.25, 0.01), "seconds": Spread(1234.4, 1.0)},
        **{"peak_memory": Spread(3 * 2.0**30, None), "paper": None, **changes},
    }
    return Row(**values)  # type: ignore[arg-type]


def comparison(*rows: Row) -> Comparison:
    return Comparison(SimpleNamespace(), rows, [], [])  # type: ignore[arg-type]


def test_interval_is_scipys() -> None:
    ours, theirs = {0: 30.5, 1: 28.25, 2: 31.0, 3: 29.0}, {3: 28.0, 2: 30.75, 1: 28.5, 0: 28.0, 9: 99.0}
    found = paired_difference(ours, theirs)
    expected = stats.ttest_rel([*ours.values()], [theirs[seed] for seed in ours])
    interval = expected.confidence_interval(0.95)
    assert found.mean == pytest.approx(0.875)
    assert (found.low, found.high) == pytest.approx((interval.low, interval.high))
    assert found.seeds == 4


def test_interval_by_hand() -> None:
    # differences 1 and 3: mean 2, deviation sqrt(2), standard error 1; t(0.975, 1) = 12.7062
    found = paired_difference({0: 1.0, 1: 3.0}, {0: 0.0, 1: 0.0})
    assert (found.mean, found.low, found.high) == pytest.approx((2, -10.7062, 14.7062), abs=1e-4)


def test_too_few_seeds() -> None:
    assert paired_difference({0: 1.0}, {1: 2.0}) is None
    assert paired_difference({0: 1.0, 1: 5.0}, {0: 3.0, 2: 2.0}) == Difference(-2.0, None, None, 1)
    same = paired_difference({0: 1.0, 1: 2.0}, {0: 0.0, 1: 1.0})
    assert same == Difference(1.0, 1.0, 1.0, 2, 0.0)  # differences that are all the same leave no doubt
    assert spread([]) is None
    assert spread([None]) is None
    assert spread([3.0]) == Spread(3.0, None)
    assert spread([1.0, None, 3.0]) == (2.0, pytest.approx(2**0.5))


def test_lines_of_a_document() -> None:
    alone = row(label="student alone", baseline=None, differences={}, peak_memory=None)
    head, first, second = table_lines(comparison(alone, row()))
    assert dict(zip(head, second, strict=True)) == {
        "method": "fakd_x & y",
        "seeds": "2",
        "mIoU %": "40.00 ± 1.25",
        "mAcc %": "50.00",
        "Δ mIoU [95 % CI]": "-1.50 [-2.25, -0.75]",
        "Δ mAcc [95 % CI]": "+0.00 [-]",
        "parameters": "1,234,567",
        "GMACs": "12.3",
        "s / step": "0.250 ± 0.010",
        "seconds": "1,234 ± 1",
        "peak MiB": "3,072",
    }
    assert first[head.index("Δ mIoU [95 % CI]")] == first[head.index("peak MiB")] == "-"


def test_columns_come_with_what_differs() -> None:
    head, *rows = table_lines(comparison(row(), row(steps=100, student="hrnet-w18s", baseline="cwd")))
    assert {"network", "steps", "compared with"} <= set(head)
    assert [line[head.index("steps")] for line in rows] == ["400", "100"]


def test_published_scores_stand_beside_ours() -> None:
    paper = next(found for found in paper_rows() if found.strength == 0.5)
    head, line = table_lines(comparison(row(paper=paper)))
    assert line[head.index("paper's mIoU (ours - it)")] == f"{paper.mIoU:.2f} ({40 - paper.mIoU:+.2f})"
    assert "paper's mIoU (ours - it)" not in table_lines(comparison(row()))[0]


def test_csv_parses_to_the_numbers() -> None:
    (values,) = csv.DictReader(io.StringIO(csv_text(comparison(row(label='a, "b"')))))
    assert values["label"] == 'a, "b"'
    assert (values["options"], values["seeds"]) == ("strength=0.5", "0 2")
    assert [float(values[name]) for name in ("mIoU_difference", "mIoU_low", "mIoU_high")] == [-1.5, -2.25, -0.75]
    assert (float(values["gmacs"]), int(values["parameters"]), values["mAcc_low"]) == (12.345, 1234567, "")


def test_terminal_table_fits_80_columns(capsys) -> None:
    alone = row(label="student alone", baseline=None, differences={})
    wide = row(label="fakd-pixel", differences={"mIoU": Difference(-11.5, -22.25, +10.75, 3)})
    console.print(rich_lines(short_lines(comparison(alone, wide))), width=80)
    lines = capsys.readouterr().out.splitlines()
    assert max(map(len, lines)) <= 80
    assert any("student alone" in line and "40.00 ± 1.25" in line for line in lines)
    assert any("[-22.25, +10.75]" in line for line in lines)


def test_markdown_escapes_bars() -> None:
    assert markdown_lines([["a", "b"], ["x|y", "1"]]) == "| a | b |\n| --- | ---: |\n| x\\|y | 1 |\n"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("50 % of a_b & c#", r"50 \% of a\_b \& c\#"),
        ("{x}$", r"\{x\}\$"),
        ("a\\b~c^", r"a\textbackslash{}b\textasciitilde{}c\textasciicircum{}"),
        ("-1.50 [-2.25, +0.75]", "$-$1.50 [$-$2.25, +0.75]"),
        ("1 ± 2 Δ", r"1 $\pm$ 2 $\Delta$"),
        ("fakd-strength0.5, pspnet-r18, run-2", "fakd-strength0.5, pspnet-r18, run-2"),
    ],
)
def test_latex_escapes(text, expected) -> None:
    assert escape_latex(text) == expected


def test_latex_table() -> None:
    text = latex_lines([["method", "mIoU %"], ["a_b", "-1"]])
    assert text.splitlines() == [
        r"\begin{tabular}{lr}",
        r"\toprule",
        r"method & mIoU \% \\",
        r"\midrule",
        r"a\_b & $-$1 \\",
        r"\bottomrule",
        r"\end{tabular}",
    ]


@pytest.mark.skipif(shutil.which("pdflatex") is None, reason="there is no pdflatex")
def test_latex_compiles(tmp_path) -> None:
    table = latex_lines(table_lines(comparison(row())))
    page = f"\\documentclass{{article}}\\usepackage{{booktabs}}\\begin{{document}}{table}\\end{{document}}"
    (tmp_path / "t.tex").write_text(page)
    subprocess.run(["pdflatex", "-halt-on-error", "t.tex"], cwd=tmp_path, check=True, capture_output=True)


def test_every_published_row_is_found() -> None:
    for found in paper_rows():
        if found.method == "teacher":
            published = published_teacher(found.dataset, found.teacher)
        elif found.available:
            options = {} if found.strength is None else {"strength": found.strength}
            published = published_student(
                found.dataset, found.teacher, found.student, found.scratch, found.method, options
            )
        assert (published.mIoU, published.mAcc) == (found.mIoU, found.mAcc)


def test_what_the_paper_does_not_have() -> None:
    asked = ("ade20k", "pspnet-r101", "pspnet-r18", False, "fakd")
    assert published_student(*asked, {"bound": "paper", "strength": 1.0}).mIoU == 35.30  # the defaults, spelled out
    assert published_student(*asked, {"bound": "tight"}) is None
    assert published_student(*asked, {"strength": 0.7}) is None
    assert published_student("camvid", *asked[1:], {}) is None
    assert published_student("ade20k", "hrnet-w48", *asked[2:], {}) is None
    assert published_student("ade20k", None, "pspnet-r18", False, "none", {}).mIoU == 29.42  # it has no teacher
    assert published_teacher("ade20k", None) is None


def test_architecture_of_a_teacher(teacher_run, tmp_path) -> None:
    assert teacher_network(str(teacher_run)) == "pspnet/test_resnet.r160_in1k"
    assert teacher_network("mmseg:pspnet_r101-d8_4xb4-160k_ade20k-512x512") == "pspnet-r101"
    assert teacher_network(str(tmp_path / "weights.pth")) is None


def test_terminal_table_shows_text_as_it_is(capsys) -> None:
    console.print(rich_lines([["a"], ["[red]x"]]))
    assert "[red]x" in capsys.readouterr().out
