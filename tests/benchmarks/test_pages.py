"""The tables of the pages are those that the kept results give."""

import sys
from collections.abc import Callable
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.fixture
def tables(monkeypatch: pytest.MonkeyPatch) -> dict[Path, Callable[[str], str]]:
    """Page -> what stands between its marks, by the benchmarks that make it."""
    monkeypatch.chdir(ROOT)
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))
    import camvid
    import few_labels

    return {
        camvid.PAGE: camvid.tables,
        camvid.CACHE_PAGE: lambda part: camvid.cache_table(),
        few_labels.PAGE: lambda part: few_labels.summary(),
    }


def test_tables_are_those_of_the_results(tables) -> None:
    between_marks = sys.modules["camvid"].between_marks
    for page, content in tables.items():
        assert between_marks(page.read_text(), content) == page.read_text(), (
            f"{page} is old: run the benchmark's `page`"
        )


def test_every_kept_run_is_of_a_part(tables) -> None:
    camvid = sys.modules["camvid"]
    folders = {folder for folder, _ in camvid.PARTS.values()}
    assert {path.name for path in camvid.RESULTS.iterdir() if path.is_dir()} <= folders
    assert {path.stem for path in camvid.RESULTS.glob("*.md")} <= {*camvid.PARTS}
