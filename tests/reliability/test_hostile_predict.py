"""`fakd predict` on images and networks that others made."""

import json
from pathlib import Path

import pytest
import torch
from fuzz_predict import fuzz
from PIL import Image

from fakd.cli import main
from fakd.commands import evaluate as commands
from fakd.commands.predict import PredictConfig, predict
from fakd.data.spec import DataError
from fakd.evaluation import predictor as room
from fakd.models import create_model, save_model


def test_fuzzed_images(tmp_path: Path) -> None:
    """Every image is written or named; see fuzz_predict.py for a thousand."""
    outcome = fuzz(120, tmp_path)
    print(f"{outcome.tried.total()} tried, {outcome.refused.total()} refused")
    assert outcome.lost == []
    assert outcome.refused["whole"] == 0
    assert len(outcome.tried) == 8  # all faults occurred
    for fault in ("truncated", "lying", "animated", "noise"):
        assert outcome.refused[fault] > 0, fault
    assert outcome.megabytes < 700


@pytest.fixture
def network(tmp_path: Path) -> Path:
    save_model(create_model("pspnet/test_resnet", num_classes=3, channels=8), tmp_path / "net.safetensors")
    return tmp_path / "net.safetensors"


@pytest.fixture
def image(tmp_path: Path) -> Path:
    Image.new("RGB", (40, 30), (9, 80, 200)).save(tmp_path / "a.png")
    return tmp_path / "a.png"


def test_exit_status_tells_of_failures(network: Path, tmp_path: Path, capsys) -> None:
    (tmp_path / "in").mkdir()
    Image.new("RGB", (40, 30)).save(tmp_path / "in/good.png")
    arguments = ["predict", str(network), str(tmp_path / "in"), str(tmp_path / "out")]
    assert main(arguments) == 0
    (tmp_path / "in/\x1b[2Jevil\n.png").write_bytes(b"no image")
    capsys.readouterr()
    assert main([*arguments, "--overwrite"]) == 1
    error = capsys.readouterr().err
    assert "error: 1 of 2 images could not be read:\n  " in error
    assert r"\x1b[2Jevil" in error  # a terminal would have cleared itself
    assert "\x1b" not in error
    assert (tmp_path / "out/labels/good.png").is_file()


def test_images_whose_scores_fill_the_memory(network: Path, image: Path, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(room, "MOST_SCORES", 40 * 30 * 3 * 4 - 1)
    with pytest.raises(DataError, match=r"a\.png: 40 x 30 pixels take 14\.4 kB of scores for 3 classes, expected"):
        predict(PredictConfig(str(network), image, tmp_path / "out", device="cpu"))
    monkeypatch.setattr(room, "MOST_SCORES", 40 * 30 * 3 * 4)
    assert predict(PredictConfig(str(network), image, tmp_path / "out", device="cpu", overwrite=True))


NOTES = {
    "no JSON": ({"palette": "[[1,"}, "its palette is no JSON"),
    "deep JSON": ({"palette": "[" * 100_000}, "its palette is no JSON"),
    "too few colours": ({"palette": "[[1, 2, 3]]"}, "expected three numbers from 0 to 255 for each of its 3 classes"),
    "no colours": ({"palette": json.dumps([[1, 2, 300]] * 3)}, "its palette is"),
    "a mapping": ({"palette": '{"a": 1}'}, "its palette is"),
    "huge": ({"base_size": "[1000000, 1000000]"}, r"its base_size is \[1000000, 1000000\], expected height and width"),
    "negative": ({"base_size": "[-1, -1]"}, "its base_size is"),
    "text": ({"base_size": '"ab"'}, "its base_size is"),
}


@pytest.mark.parametrize("case", NOTES)
def test_what_a_network_says_of_itself(case: str, image: Path, tmp_path: Path) -> None:
    notes, message = NOTES[case]
    save_model(create_model("pspnet/test_resnet", num_classes=3, channels=8), tmp_path / "net.safetensors", notes)
    with pytest.raises(ValueError, match=message) as refusal:
        predict(PredictConfig(str(tmp_path / "net.safetensors"), image, tmp_path / "out", device="cpu"))
    assert str(tmp_path / "net.safetensors") in str(refusal.value)
    assert len(str(refusal.value)) < 500
    assert not (tmp_path / "out").exists()


def test_class_names_are_no_markup(capsys) -> None:
    """Rich takes brackets in a table for its markup, unless it is told."""
    names = ("[/]", "[red]road", "[link=file:///etc/passwd]car[/link]")
    matrix = torch.diag(torch.tensor([3, 4, 5]))
    commands._print_scores(commands.scores_from_confusion(matrix, names), "folder")
    printed = capsys.readouterr().out
    assert all(name in printed for name in names)
