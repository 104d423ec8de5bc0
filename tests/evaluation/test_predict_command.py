"""Masks of a user's images."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from fakd.data import DATASETS, DataError, read_image
from fakd.data.spec import SlidingWindow
from fakd.data.transforms import EvalTransform
from fakd.evaluation import Inference, predict_logits
from fakd.evaluation.commands import PredictConfig, predict
from fakd.models import create_model, load_model, save_model

PALETTE = DATASETS["toy-scenes"].palette


@pytest.fixture
def write(tmp_path: Path) -> Callable[..., Path]:
    def write_image(name: str, size: tuple[int, int] = (40, 30)) -> Path:
        path = tmp_path / "in" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        rng = np.random.default_rng(len(name))
        Image.fromarray(rng.integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)).save(path)
        return path

    return write_image


@pytest.fixture
def config(tmp_path: Path, teacher_run: Path) -> Callable[..., PredictConfig]:
    def make(**changes) -> PredictConfig:
        return PredictConfig(**{"model": teacher_run, "images": tmp_path / "in", "output": tmp_path / "out", **changes})

    return make


def below(folder: Path) -> list[str]:
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())


def test_masks_are_the_argmax_at_the_images_own_size(config, write, tmp_path, teacher_run) -> None:
    path = write("street.png", (61, 47))
    assert predict(config(overlay=True, opacity=0.25)) == [tmp_path / "out/labels/street.png"]
    assert below(tmp_path / "out") == ["color/street.png", "labels/street.png", "overlay/street.png"]

    model, _ = load_model(teacher_run)
    image = read_image(path)
    fitted = EvalTransform((48, 72)).fit(image)  # as in training
    with torch.no_grad():
        logits = model(fitted[None] / 255).logits
    logits = torch.nn.functional.interpolate(logits, size=(47, 61), mode="bilinear", align_corners=False)
    expected = logits.argmax(1)[0].numpy()
    assert len(np.unique(expected)) > 1
    with Image.open(tmp_path / "out/labels/street.png") as labels:
        assert labels.mode == "P"
        assert np.array_equal(np.asarray(labels), expected)
        assert labels.getpalette()[: 3 * len(PALETTE)] == [value for colour in PALETTE for value in colour]
    colours = np.asarray(Image.open(tmp_path / "out/color/street.png"))
    assert np.array_equal(colours, np.array(PALETTE, dtype=np.uint8)[expected])
    mixed = 0.75 * image.permute(1, 2, 0).numpy() + 0.25 * colours
    assert np.abs(np.asarray(Image.open(tmp_path / "out/overlay/street.png")) - mixed).max() <= 0.5


def test_other_base_size_gives_masks_of_the_same_size(config, write, tmp_path) -> None:
    write("a.png", (40, 30))
    predict(config(base_size=(96, 144)))
    assert Image.open(tmp_path / "out/labels/a.png").size == (40, 30)


def test_windows_flip_and_scales(config, write, tmp_path, teacher_run, monkeypatch) -> None:
    image = read_image(write("a.png", (61, 47)))
    model, _ = load_model(teacher_run)
    window = SlidingWindow((32, 32), (20, 20))

    def masks(**options) -> Tensor:
        (path,) = predict(config(overwrite=True, **options))
        return torch.from_numpy(np.array(Image.open(path)))

    def expected(inference: Inference) -> Tensor:
        fitted = EvalTransform((48, 72)).fit(image)
        return predict_logits(model, fitted[None], (47, 61), inference)[0].argmax(0)

    whole = masks()
    assert torch.equal(whole, expected(Inference()))
    slid = masks(window=(32, 32), stride=(20, 20), flip=True, scales=(0.5, 1.0))
    assert torch.equal(slid, expected(Inference(window, flip=True, scales=(0.5, 1.0))))
    assert not torch.equal(slid, whole)
    # the file says what it was trained on, which says how it is used
    monkeypatch.setitem(DATASETS, "toy-scenes", replace(DATASETS["toy-scenes"], window=window))
    assert torch.equal(masks(), expected(Inference(window)))
    assert torch.equal(masks(mode="whole"), whole)
    with pytest.raises(ValueError, match="scales must be one or more factors above 0, got"):
        masks(scales=(0.0,))


def test_folders_are_kept_and_names_never_collide(config, write, tmp_path) -> None:
    for name in ("a.jpg", "a.png", "b.JPG", "deep/er/a.png", "deep/a.b.png"):
        write(name)
    (tmp_path / "in/notes.txt").write_text("no image")
    (tmp_path / "in/._a.png").write_bytes(b"a hidden file of macOS")
    (tmp_path / "in/folder.png").mkdir()
    written = predict(config())
    expected = ["a.jpg.png", "a.png.png", "b.png", "deep/a.b.png", "deep/er/a.png"]
    assert below(tmp_path / "out/labels") == below(tmp_path / "out/color") == expected
    assert sorted(path.relative_to(tmp_path / "out/labels").as_posix() for path in written) == expected


def test_single_file(config, write, tmp_path) -> None:
    write("other.png")
    predict(config(images=write("deep/one.jpg")))
    assert below(tmp_path / "out/labels") == ["one.png"]


def test_unreadable_images_come_last_and_stop_nothing(config, write, tmp_path) -> None:
    write("a.png")
    write("z.png")
    (tmp_path / "in/broken.png").write_bytes(b"not an image")
    (tmp_path / "in/empty.jpg").touch()
    with pytest.raises(DataError, match=r"2 of 4 images could not be read:\n  .*broken.png: .*\n  .*empty.jpg: .*"):
        predict(config())
    assert below(tmp_path / "out/labels") == ["a.png", "z.png"]


def test_output_folder_in_use(config, write, tmp_path) -> None:
    write("a.png")
    (tmp_path / "out").mkdir()
    (tmp_path / "out/mine.txt").touch()
    with pytest.raises(FileExistsError, match=r"out is not empty.*--overwrite"):
        predict(config())
    assert below(tmp_path / "out") == ["mine.txt"]
    predict(config(overwrite=True))
    assert below(tmp_path / "out") == ["color/a.png", "labels/a.png", "mine.txt"]


def test_nothing_to_do(config, write, tmp_path) -> None:
    with pytest.raises(FileNotFoundError, match="no image at"):
        predict(config())
    write("a.png")
    with pytest.raises(ValueError, match="opacity must be between 0 and 1, got 2"):
        predict(config(opacity=2))
    with pytest.raises(FileNotFoundError, match="no model file at"):
        predict(config(model=tmp_path / "nowhere"))
    assert not (tmp_path / "out").exists()


def test_model_without_notes_gets_greys(config, write, tmp_path) -> None:
    model = create_model("pspnet/test_resnet", num_classes=3, channels=8)
    save_model(model, tmp_path / "bare.safetensors")
    write("a.png")
    predict(config(model=tmp_path / "bare.safetensors"))
    assert set(np.unique(Image.open(tmp_path / "out/color/a.png"))) <= {85, 170, 255}


def test_shows_a_bar_in_a_terminal(config, write, monkeypatch, capsys) -> None:
    write("a.png")
    monkeypatch.setattr("fakd.console.console._force_terminal", True)
    monkeypatch.setattr("fakd.console.console.is_interactive", True)
    assert len(predict(config())) == 1
    assert "predicting" in capsys.readouterr().out


def test_device_that_is_not_there(config, write) -> None:
    write("a.png")
    missing = "mps" if torch.cuda.is_available() else "cuda"
    with pytest.raises(ValueError, match=f"device '{missing}' is not there"):
        predict(config(device=missing))
