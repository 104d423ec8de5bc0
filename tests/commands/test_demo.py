"""The demo, with runs of two steps."""

import json

import pytest
from PIL import Image

from fakd.commands.demo import DemoConfig, demo
from fakd.training.learner import Learner

TITLES = ["teacher", "student alone", "CWD", "FAKD"]


@pytest.fixture
def make(tmp_path, few_scenes, monkeypatch):
    """Make a demo config of two steps a run."""
    monkeypatch.setattr("fakd.training.run.chance_miou", lambda matrix: -1.0)

    def config(**changes) -> DemoConfig:
        return DemoConfig(**{"output": tmp_path / "demo", "teacher_steps": 2, "student_steps": 2, **changes})

    return config


def test_from_nothing_to_a_report(make, tmp_path, capsys) -> None:
    (tmp_path / "demo").mkdir()  # an empty folder is as good as none
    results = demo(make())
    assert list(results) == TITLES
    folder = tmp_path / "demo"
    rows = (folder / "table.md").read_text().splitlines()[2:]
    for title, row in zip(TITLES, rows, strict=True):
        assert row.startswith(f"| {title} | {results[title]['mIoU']:.2f} | {results[title]['mAcc']:.2f} |")
    for name in ("curves.png", "predictions.png"):
        assert min(Image.open(folder / name).size) > 300
    assert len(list((folder / "images").glob("*.png"))) == 8
    for name in ("teacher", "none", "cwd", "fakd"):
        assert json.loads((folder / name / "results.json").read_text())["steps"] == 2
    page = (folder / "report.html").read_text()
    assert all(f">{label}<" in page for label in ("teacher", "student alone", "cwd", "fakd"))
    assert "fakd predict" in capsys.readouterr().out  # what to try next


def test_goes_on_where_it_was(make, tmp_path, monkeypatch) -> None:
    original = Learner.forward

    def crash(self, batch, step):
        if getattr(self.config, "method", "") == "cwd" and step == 1:
            raise KeyboardInterrupt
        return original(self, batch, step)

    with monkeypatch.context() as patch:
        patch.setattr(Learner, "forward", crash)
        with pytest.raises((KeyboardInterrupt, SystemExit)):
            demo(make())
    finished = tmp_path / "demo/teacher/results.json"
    written = finished.stat().st_mtime_ns
    assert not (tmp_path / "demo/table.md").exists()
    assert list(demo(make())) == TITLES
    assert finished.stat().st_mtime_ns == written  # not trained again


def test_foreign_folders_are_refused(make, tmp_path) -> None:
    (tmp_path / "demo/teacher").mkdir(parents=True)
    (tmp_path / "demo/teacher/marks.xlsx").touch()
    for overwrite in (False, True):
        with pytest.raises(FileExistsError, match="exists and holds no demo"):
            demo(make(overwrite=overwrite))
    assert (tmp_path / "demo/teacher/marks.xlsx").exists()


def test_overwrite_starts_again(make, tmp_path) -> None:
    demo(make())
    with pytest.raises(ValueError, match="max_steps was 2 and is 3"):
        demo(make(teacher_steps=3))
    assert demo(make(teacher_steps=3, overwrite=True))["teacher"]["steps"] == 3
