from pathlib import Path

import pytest

from fakd.commands.compare import CompareConfig


def test_all_runs_share_one_cache(few_scenes, tmp_path: Path) -> None:
    cache = {"teacher_cache": tmp_path / "cache", "teacher_views": 5}
    config = CompareConfig(teacher="t", methods="none,cwd,fakd", output=tmp_path / "compare", seeds=2, **cache)
    runs = config.plan_runs(config.arms(), {})
    assert len(runs) == 6
    assert {run.config.teacher_cache for run in runs.values()} == {tmp_path / "cache"}
    assert {run.config.teacher_cache_format for run in runs.values()} == {"int8"}
    assert {run.config.teacher_views for run in runs.values()} == {5}
    words = config.command_line("compare")
    assert words[words.index("--teacher-cache") + 1] == str(tmp_path / "cache")
    assert words[words.index("--teacher-views") + 1] == "5"
    assert "--teacher-cache-format" not in words


def test_a_method_that_needs_features_is_refused_before_anything_runs(few_scenes, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="method 'at' learns from the teacher's features"):
        CompareConfig(teacher="t", methods="none,at", output=tmp_path / "compare", teacher_cache=tmp_path / "cache")
