"""The page on adding a data set shows one that works."""

from pathlib import Path

import pytest
from brought import EXAMPLES, draw_leaves

from fakd import cli
from fakd.data import DATASETS, DatasetSpec
from fakd.training import train

ROOT = Path(__file__).parents[1]
PAGE = (ROOT / "docs/add-a-dataset.md").read_text()


@pytest.fixture
def leaves(monkeypatch: pytest.MonkeyPatch) -> DatasetSpec:
    """The page's data set, registered as the page says."""
    monkeypatch.syspath_prepend(EXAMPLES)
    from my_dataset import LEAVES

    monkeypatch.setitem(DATASETS, "leaves", LEAVES)
    return LEAVES


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return draw_leaves(tmp_path / "leaves")


def test_the_page_shows_the_file() -> None:
    code = (EXAMPLES / "my_dataset.py").read_text()
    assert f"```python\n{code}```" in PAGE
    assert len(code.splitlines()) < 40


def test_the_pages_links_lead_somewhere() -> None:
    for link in ("examples/my_dataset.py", "src/fakd/data/__init__.py"):
        assert f"](../{link})" in PAGE.replace("\\", "")
        assert (ROOT / link).exists()


def test_masks_are_read_as_the_page_says(leaves, root) -> None:
    sample = leaves.open(root, "val")[1]
    assert sample.name == "photos/val/1"
    assert set(sample.label.unique().tolist()) == {0, 1, 2, 255}


def test_it_is_checked_and_trains(leaves, root, train_config, tmp_path, capsys) -> None:
    assert cli.main(["data", "check", "leaves", str(root)]) == 0
    assert "spot" in capsys.readouterr().out
    sizes = {"base_size": (48, 64), "crop_size": (32, 32)}
    train(train_config(dataset="leaves", data_root=root, max_steps=2, eval_every=2, **sizes))
    assert (tmp_path / "run/student.safetensors").exists()
