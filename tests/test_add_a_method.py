"""The page on adding a method shows a file that works."""

import importlib.util
from pathlib import Path

import pytest
from safetensors.torch import load_file

from fakd.methods import METHODS, Method
from fakd.training import distill
from fakd.training.metrics_file import read_metrics

ROOT = Path(__file__).parents[1]
EXAMPLE = ROOT / "examples/my_method.py"
PAGE = (ROOT / "docs/add-a-method.md").read_text()


@pytest.fixture
def method(monkeypatch: pytest.MonkeyPatch) -> type[Method]:
    """The page's method, registered as the page says."""
    spec = importlib.util.spec_from_file_location("my_method", EXAMPLE)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    monkeypatch.setitem(METHODS, "feature-cosine", module.FeatureCosine)
    return module.FeatureCosine


def test_the_page_shows_the_file() -> None:
    assert f"```python\n{EXAMPLE.read_text()}```" in PAGE


def test_the_file_stays_short() -> None:
    assert len(EXAMPLE.read_text().splitlines()) < 40


def test_the_pages_links_lead_somewhere() -> None:
    for link in ("examples/my_method.py", "src/fakd/methods/__init__.py"):
        assert f"](../{link})" in PAGE
        assert (ROOT / link).exists()


def test_the_method_trains_and_logs_its_term(method, distill_config, tmp_path) -> None:
    settings = {"options": {"weight": 2.0}, "max_steps": 2, "eval_every": 2, "precision": "bf16-mixed"}
    distill(distill_config(method="feature-cosine", **settings))
    metrics = read_metrics(tmp_path / "run")
    assert "loss/feature-cosine" in metrics
    assert all(tensor.isfinite().all() for tensor in load_file(tmp_path / "run/student.safetensors").values())
    assert not any("projector" in name for name in load_file(tmp_path / "run/student.safetensors"))


def test_the_pages_script_says_what_the_test_does(method, distill_config) -> None:
    assert 'METHODS["feature-cosine"] = FeatureCosine' in PAGE
    with pytest.raises(ValueError, match="has no option strength; it has weight"):
        distill_config(method="feature-cosine", options={"strength": 2.0})
