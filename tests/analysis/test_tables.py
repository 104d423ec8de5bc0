"""Numbers over seeds, and tables as text that other programs read."""

import csv
import io
import math
import shutil
import subprocess
from collections.abc import Sequence
from dataclasses import replace
from itertools import combinations
from pathlib import Path
from types import SimpleNamespace

import pytest
from scipy import stats

from fakd.analysis.groups import Group, gains
from fakd.analysis.paper_rows import paper_rows, published_student, published_teacher, teacher_network
from fakd.analysis.runs import Run
from fakd.analysis.statistics import Difference, Spread, holm, paired_difference, spread
from fakd.analysis.tables import escape_latex, latex_lines, markdown_lines, rich_lines
from fakd.console import console
from fakd.experiments.results_table import GridResults, csv_text, short_lines, table_lines


def runs(*results: dict[str, float | None], seeds: Sequence[int] = (0, 2)) -> list[Run]:
    costs = {"parameters": 1234567, "steps": 400, "peak_memory": 3 * 2.0**30, "IoU": {}}
    return [
        Run(Path("run"), {"seed": seed, "teacher": "t"}, {**costs, **found}, {})
        for seed, found in zip(seeds, results, strict=True)
    ]


def spread_around(mean: float, deviation: float) -> tuple[float, float]:
    """Two values of that mean and sample standard deviation."""
    return mean - deviation / 2**0.5, mean + deviation / 2**0.5


MIOU = spread_around(40.0, 1.25)
REACH = 0.75 / 12.706204736174698  # Student's t of one degree of freedom: the interval reaches 0.75 to each side
GAINED = (-1.5 - REACH, -1.5 + REACH)
TIMES = (spread_around(0.25, 0.01), spread_around(1234.4, 1.0))
ALONE = Group(
    "student alone",
    {"dataset": "camvid", "student": "pspnet-r18", "method": "none", "options": {}},
    runs(
        {"mIoU": MIOU[0] - GAINED[0], "mAcc": 50.001, "peak_memory": None},
        {"mIoU": MIOU[1] - GAINED[1], "mAcc": None, "peak_memory": None},
    ),
)
FAKD = Group(
    "fakd_x & y",
    {"dataset": "camvid", "student": "pspnet-r18", "method": "fakd", "options": {"strength": 0.5}},
    runs(
        *(
            {"mIoU": miou, "mAcc": macc, "seconds_per_step": step, "seconds": whole}
            for miou, macc, step, whole in zip(MIOU, (50.0, None), *TIMES, strict=True)
        )
    ),
    baseline=ALONE,
)


@pytest.fixture(autouse=True)
def _cost(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Group, "giga_macs", 12.345)


def results(*groups: Group) -> GridResults:
    return GridResults(SimpleNamespace(score="mIoU"), groups, [], [])  # type: ignore[arg-type]


def test_interval_is_scipys() -> None:
    ours, theirs = {0: 30.5, 1: 28.25, 2: 31.0, 3: 29.0}, {3: 28.0, 2: 30.75, 1: 28.5, 0: 28.0, 9: 99.0}
    found = paired_difference(ours, theirs)
    expected = stats.ttest_rel([*ours.values()], [theirs[seed] for seed in ours])
    interval = expected.confidence_interval(0.95)
    assert found.mean == pytest.approx(0.875)
    assert (found.low, found.high) == pytest.approx((interval.low, interval.high))
    assert found.seeds == 4
    assert found.p == pytest.approx(expected.pvalue)


def test_interval_by_hand() -> None:
    # differences 1 and 3: mean 2, deviation sqrt(2), standard error 1; t(0.975, 1) = 12.7062
    found = paired_difference({0: 1.0, 1: 3.0}, {0: 0.0, 1: 0.0})
    assert (found.mean, found.low, found.high) == pytest.approx((2, -10.7062, 14.7062), abs=1e-4)


def test_p_by_hand() -> None:
    # t = 2 as above; with one degree of freedom Student's distribution is Cauchy's, whose tail is an arctangent
    found = paired_difference({0: 1.0, 1: 3.0}, {0: 0.0, 1: 0.0})
    assert found.p == pytest.approx(1 - 2 / math.pi * math.atan(2))


@pytest.mark.parametrize("p_values", [[0.04, 0.01, 0.03], [0.2, 0.001, 0.013, 0.013, 0.9], [0.5, 0.5], [0.04], []])
def test_holms_correction_is_that_of_all_families_a_test_is_in(p_values) -> None:
    """By the closure principle: a hypothesis is rejected where Bonferroni rejects each family that it belongs to."""
    places = range(len(p_values))
    families = [family for size in places for family in combinations(places, size + 1)]

    def bonferroni(family: Sequence[int]) -> float:
        return min(1.0, len(family) * min(p_values[place] for place in family))

    expected = [max(bonferroni(family) for family in families if place in family) for place in places]
    assert holm(p_values) == pytest.approx(expected)


def test_methods_that_meet_one_baseline_are_corrected_together() -> None:
    """The intervals are not: they are of each difference alone."""
    alone = Group("student alone", {}, runs({"mIoU": 40.0}, {"mIoU": 41.0}))
    gained = {"a": (1.45, 1.55), "b": (2.7, 3.3), "c": (-1.0, 2.0)}
    groups = [
        Group(name, {}, runs({"mIoU": 40 + first}, {"mIoU": 41 + second}), baseline=alone)
        for name, (first, second) in gained.items()
    ]
    single = {group.label: group.gain("mIoU") for group in groups}
    found = {group.label: gain for group, gain in gains([alone, *groups], "mIoU").items()}
    assert [gain.significant for gain in single.values()] == [True, False, False]
    assert found["a"].p == pytest.approx(3 * single["a"].p)
    assert not found["a"].significant  # 0.021 alone is 0.064 among three
    assert {name: gain[:5] for name, gain in found.items()} == {name: gain[:5] for name, gain in single.items()}
    other = Group("other", {}, alone.runs)
    apart = gains([alone, other, groups[0], replace(groups[1], baseline=other)], "mIoU")
    assert apart[groups[0]].significant  # the only one that meets its baseline


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
    head, first, second = table_lines(results(ALONE, FAKD))
    assert dict(zip(head, second, strict=True)) == {
        "method": "fakd_x & y",
        "seeds": "2",
        "mIoU %": "40.00 ± 1.25",
        "mAcc %": "50.00",
        "Δ mIoU [95 % CI]": "-1.50* [-2.25, -0.75]",  # p = 0.025, and no other meets this baseline
        "Δ mAcc [95 % CI]": "+0.00 [-]",
        "parameters": "1,234,567",
        "GMACs": "12.3",
        "s / step": "0.250 ± 0.010",
        "seconds": "1,234 ± 1",
        "peak MiB": "3,072",
    }
    assert first[head.index("Δ mIoU [95 % CI]")] == first[head.index("peak MiB")] == "-"


def test_columns_come_with_what_differs() -> None:
    cwd = replace(ALONE, label="cwd", options={**ALONE.options, "method": "cwd"})
    shorter = [replace(run, results={**run.results, "steps": 100}) for run in FAKD.runs]
    other = replace(FAKD, options={**FAKD.options, "student": "hrnet-w18s"}, runs=shorter, baseline=cwd)
    head, *rows = table_lines(results(FAKD, other))
    assert {"network", "steps", "compared with"} <= set(head)
    assert [line[head.index("steps")] for line in rows] == ["400", "100"]


def test_published_scores_stand_beside_ours() -> None:
    paper = next(found for found in paper_rows() if found.strength == 0.5)
    shown = results(FAKD)
    shown.__dict__["paper"] = {FAKD: paper}
    head, line = table_lines(shown)
    assert line[head.index("paper's mIoU (ours - it)")] == f"{paper.mIoU:.2f} ({40 - paper.mIoU:+.2f})"
    assert "paper's mIoU (ours - it)" not in table_lines(results(FAKD))[0]


def test_csv_parses_to_the_numbers() -> None:
    (values,) = csv.DictReader(io.StringIO(csv_text(results(replace(FAKD, label='a, "b"')))))
    assert values["label"] == 'a, "b"'
    assert (values["options"], values["seeds"]) == ("strength=0.5", "0 2")
    assert [float(values[name]) for name in ("mIoU_difference", "mIoU_low", "mIoU_high")] == pytest.approx(
        [-1.5, -2.25, -0.75]
    )
    assert (float(values["gmacs"]), int(values["parameters"]), values["mAcc_low"]) == (12.345, 1234567, "")


def test_terminal_table_fits_80_columns(capsys) -> None:
    alone = replace(ALONE, runs=runs(*({"mIoU": miou} for miou in MIOU)))
    reach = 22 * REACH  # 16.5 to each side of -5.75
    far = [{"mIoU": miou - 5.75 + sign * reach} for miou, sign in zip(MIOU, (1, -1), strict=True)]
    wide = replace(FAKD, label="fakd-pixel", runs=runs(*far), baseline=alone)
    console.print(rich_lines(short_lines(results(alone, wide))), width=80)
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
    table = latex_lines(table_lines(results(FAKD)))
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
    assert (
        published_student(*asked, {"covariance": "diagonal", "strength": 1.0}).mIoU == 35.30
    )  # the defaults, spelled out
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
