"""What `fakd predict` writes is a data set: it is checked, and trained on."""

import os
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from tiny import NETWORK, SETTINGS

from fakd.commands.data_check import CheckConfig, check_dataset
from fakd.commands.export import ExportConfig, export
from fakd.commands.predict import PredictConfig, predict
from fakd.data import get_dataset
from fakd.data.sets.toy_scenes import ToyScenes
from fakd.evaluation.inference import predict_logits
from fakd.models import load_model
from fakd.training import TrainConfig, train

MERGED = """
classes: [{name: sky, value: [3, 0]}, {name: car, value: 1}, {name: truck, value: [6, 7]}, {name: road, value: [2, 4]}]
merge: {vehicle: [car, truck]}
ignore: [5, 8, 9, 10, 11]
"""


def draw(folder: Path, masks: Path | None = None) -> None:
    scenes = ToyScenes("train", count=4, size=(48, 72))
    for number in range(4):
        name = f"deep/{number}.png" if number == 3 else f"{number}.png"
        for place, picture in ((folder, scenes[number].image.permute(1, 2, 0)), (masks, scenes[number].label)):
            if place is not None:
                (place / name).parent.mkdir(parents=True, exist_ok=True)
                Image.fromarray(picture.numpy()).save(place / name)


@pytest.fixture
def merged_run(tmp_path) -> Path:
    """A network of three classes, one of which stands for two of its data set's, whose values are not 0, 1, 2."""
    draw(tmp_path / "own/images", tmp_path / "own/masks")
    (tmp_path / "own/classes.yaml").write_text(MERGED)
    (tmp_path / "own/val.txt").write_text("0\n")
    folder = {"dataset": "folder", "data_root": tmp_path / "own", "output": tmp_path / "run"}
    train(TrainConfig(**{**SETTINGS, **folder, "max_steps": 30, "eval_every": 30}, network=NETWORK, learning_rate=0.05))
    return tmp_path / "run"


@pytest.mark.parametrize("least", [0.0, 0.4])
def test_round_trip_with_merged_classes(merged_run, tmp_path, least) -> None:
    draw(tmp_path / "photos")
    root = tmp_path / "photos/found"  # where a second search would meet the links
    again = {"model": merged_run, "images": tmp_path / "photos", "output": root, "workers": 0}
    written = predict(PredictConfig(**again, ignore_below=least))
    assert predict(PredictConfig(**again, ignore_below=least, overwrite=True)) == written
    (root / "val.txt").write_text("deep/3\n")

    check_dataset(CheckConfig("folder", root))
    spec = get_dataset("folder", root)
    assert spec.classes == ("sky", "vehicle", "road")
    source = spec.open(root, "train")
    assert [source[index].name for index in range(len(source))] == ["images/0", "images/1", "images/2"]
    network, _ = load_model(merged_run)
    for index in range(3):
        sample = source[index]
        with torch.no_grad():
            shares = predict_logits(network, sample.image[None], (48, 72)).softmax(1)[0].numpy()
        expected = np.where(shares.max(0) >= least, shares.argmax(0), 255)
        assert np.array_equal(sample.label.numpy(), expected)
        assert (255 in expected) == (least > 0)
        assert len(np.unique(expected)) > 1
    own = {**SETTINGS, "max_steps": 2, "eval_every": 2, "network": NETWORK, "output": tmp_path / "next"}
    results = train(TrainConfig(**own, dataset="folder", data_root=root))
    assert results is not None
    assert set(results["IoU"]) == {"sky", "vehicle", "road"}


def test_files_that_are_there_are_never_replaced_by_links(teacher_run, tmp_path, monkeypatch) -> None:
    draw(tmp_path / "photos")
    output = tmp_path / "out"
    (output / "images").mkdir(parents=True)
    (output / "images/0.png").write_text("the user's own")
    predict(PredictConfig(teacher_run, tmp_path / "photos", output, overwrite=True, workers=0))
    assert (output / "images/0.png").read_text() == "the user's own"
    assert os.readlink(output / "images/deep/3.png") == str(tmp_path / "photos/deep/3.png")

    def refused(*_: object, **__: object) -> None:
        raise OSError("a privilege is not held by the client")

    monkeypatch.setattr(Path, "symlink_to", refused)
    predict(PredictConfig(teacher_run, tmp_path / "photos", tmp_path / "copied", workers=0))
    copy = tmp_path / "copied/images/1.png"
    assert not copy.is_symlink()
    assert copy.read_bytes() == (tmp_path / "photos/1.png").read_bytes()


def test_what_ignore_below_needs(teacher_run, tmp_path) -> None:
    draw(tmp_path / "photos")
    with pytest.raises(ValueError, match=r"ignore_below must be between 0 and 1, got 1\.5"):
        predict(PredictConfig(teacher_run, tmp_path / "photos", tmp_path / "out", ignore_below=1.5))
    pytest.importorskip("onnxruntime")
    export(ExportConfig(teacher_run, tmp_path / "labels.onnx", argmax=True))
    with pytest.raises(ValueError, match=r"labels\.onnx gives labels and no scores: leave out --ignore-below"):
        predict(PredictConfig(tmp_path / "labels.onnx", tmp_path / "photos", tmp_path / "out", ignore_below=0.5))
