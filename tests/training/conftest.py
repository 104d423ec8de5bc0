import pytest

from fakd.data.teacher_logits import LogitStore
from fakd.data.views import View


@pytest.fixture
def cached_config(distill_config, tmp_path):
    return lambda **changes: distill_config(**{"method": "cwd", "teacher_cache": tmp_path / "cache", **changes})


@pytest.fixture
def written(monkeypatch) -> list[View]:
    """Notes the views whose logits are written."""
    views: list[View] = []
    original = LogitStore.write

    def noting(self, view, index, logits):
        original(self, view, index, logits)
        views.append((view, index))

    monkeypatch.setattr(LogitStore, "write", noting)
    return views
