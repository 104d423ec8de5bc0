"""Masks of a user's images."""

import csv
import os
import signal
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from fakd.commands import predict as predicting
from fakd.commands.evaluate import EvaluateConfig, evaluate
from fakd.commands.predict import PredictConfig, predict
from fakd.data import DATASETS, DataError, read_image
from fakd.data.spec import SlidingWindow
from fakd.data.transforms import EvalTransform
from fakd.evaluation import Inference, predict_logits
from fakd.evaluation.predictor import Predictor
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


def test_names_that_are_no_utf8(config, write, tmp_path, capfd) -> None:
    name = os.fsdecode(b"caf\xe9")
    write("a.png").rename(tmp_path / "in" / f"{name}.png")
    (tmp_path / "in" / f"{name}2.png").write_bytes(b"no picture")
    with pytest.raises(DataError, match="1 of 2 images could not be read"):
        predict(config())
    assert (tmp_path / "out/labels" / f"{name}.png").is_file()
    with (tmp_path / "out/shares.csv").open(encoding="utf-8") as file:
        (row,) = csv.DictReader(file)
    assert (row["image"], row["mask"]) == (f"{tmp_path}/in/caf\\xe9.png", "caf\\xe9.png")


def test_masks_are_the_argmax_at_the_images_own_size(config, write, tmp_path, teacher_run) -> None:
    path = write("street.png", (61, 47))
    assert predict(config(overlay=True, opacity=0.25)) == [tmp_path / "out/labels/street.png"]
    pictures = ["color/street.png", "images/street.png", "labels/street.png", "overlay/street.png"]
    assert below(tmp_path / "out") == ["classes.yaml", *pictures, "shares.csv"]

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


def test_overlays_leave_the_background_out(config, write, tmp_path) -> None:
    image = np.array(Image.open(write("a.png")))
    (mask,) = predict(config(overlay=True, opacity=1.0))
    values, counts = np.unique(labels := np.array(Image.open(mask)), return_counts=True)
    colours = np.array(PALETTE, np.uint8)[labels]
    assert np.array_equal(np.array(Image.open(tmp_path / "out/overlay/a.png")), colours)  # toy-scenes has none
    most = values[counts.argmax()]
    predict(config(overlay=True, opacity=1.0, overwrite=True, hide=DATASETS["toy-scenes"].classes[most]))
    bare = np.where(labels[..., None] == most, image, colours)
    assert np.array_equal(np.array(Image.open(tmp_path / "out/overlay/a.png")), bare)
    assert np.array_equal(np.array(Image.open(tmp_path / "out/color/a.png").convert("RGB")), colours)
    with pytest.raises(ValueError, match="hide has cows, and the classes are"):
        predict(config(overlay=True, overwrite=True, hide="cows"))


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
    pictures = ["color/a.png", "images/a.png", "labels/a.png"]
    assert below(tmp_path / "out") == ["classes.yaml", *pictures, "mine.txt", "shares.csv"]


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


def test_batches_give_the_same_masks(config, write, tmp_path, teacher_run) -> None:
    for index, size in enumerate([(61, 47), (40, 30), (61, 47), (47, 61), (61, 47), (40, 30)]):
        write(f"{index}.png", size)
    sizes = []

    def count(network, group, confidence):
        sizes.append(len(group))
        return predicted(network, group, confidence)

    predicted = predicting._predicted
    for size in (1, 3):
        predict(config(batch_size=size, output=tmp_path / f"by{size}", workers=0))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(predicting, "_predicted", count)
        predict(config(batch_size=3, output=tmp_path / "counted", workers=2))
        assert sorted(sizes) == [1, 2, 3]
        sizes.clear()
        patch.setattr(predicting, "_BATCH_SCORES", 2 * 61 * 47 * 12 * 4)
        predict(config(batch_size=3, output=tmp_path / "cut"))
        assert sorted(sizes) == [1, 1, 2, 2]
    one, rest = tmp_path / "by1/labels", [tmp_path / f"{name}/labels" for name in ("by3", "counted", "cut")]
    for index in range(6):
        alone = np.asarray(Image.open(one / f"{index}.png"))
        for other in rest:
            assert (alone != np.asarray(Image.open(other / f"{index}.png"))).mean() <= 0.001


def test_batches_that_do_not_fit_are_halved(config, write, tmp_path, monkeypatch) -> None:
    for index in range(5):
        write(f"{index}.png")
    predict(config(output=tmp_path / "plain"))
    asked = []
    labels = Predictor.labels

    def narrow(network, images, size, confidence):
        asked.append(len(images))
        if len(images) > 1:
            raise torch.OutOfMemoryError
        return labels(network, images, size, confidence)

    monkeypatch.setattr(Predictor, "labels", narrow)
    assert len(predict(config(batch_size=4))) == 5
    assert asked == [4, 2, 1, 1, 2, 1, 1, 1]
    for name in below(tmp_path / "plain/labels"):
        same = (Image.open(tmp_path / folder / "labels" / name) for folder in ("out", "plain"))
        assert np.array_equal(*map(np.asarray, same))


def test_shares_of_pixels(config, write, tmp_path) -> None:
    first, second = write("b/one.png", (61, 47)), write("a, b.png", (40, 30))
    (tmp_path / "in/c.png").write_bytes(b"no image")
    with pytest.raises(DataError):
        predict(config(images=[first, second, tmp_path / "in/c.png"]))
    with (tmp_path / "out/shares.csv").open(newline="") as file:
        header, *rows = csv.reader(file)
    assert header == ["image", "mask", *DATASETS["toy-scenes"].classes]
    assert [row[:2] for row in rows] == [[str(first), "b/one.png"], [str(second), "a, b.png"]]
    for row in rows:
        labels = np.asarray(Image.open(tmp_path / "out/labels" / row[1]))
        expected = [(labels == index).mean() for index in range(len(PALETTE))]
        assert [float(cell) for cell in row[2:]] == pytest.approx(expected, abs=5e-7)


def test_frames_of_a_video(config, tmp_path, teacher_run) -> None:
    pytest.importorskip("av", reason="PyAV is not installed")
    from videos import noise, write_video

    frames = noise(7)
    clip = write_video(tmp_path / "in/clip.mkv", frames)
    written = predict(config(images=[clip], every=3, overlay=True))
    names = ["clip/000000.png", "clip/000003.png", "clip/000006.png"]
    assert written == [tmp_path / "out/labels" / name for name in names]
    assert below(tmp_path / "out/overlay") == below(tmp_path / "out/color") == names
    Image.fromarray(frames[3]).save(tmp_path / "in/frame.png")
    (still,) = predict(config(images=[tmp_path / "in/frame.png"], output=tmp_path / "still"))
    assert np.array_equal(np.asarray(Image.open(still)), np.asarray(Image.open(written[1])))
    # damaged ones are named, and stop nothing
    (tmp_path / "in/bad.mp4").write_bytes(b"no video")
    with pytest.raises(DataError, match=r"1 of 9 images could not be read:\n  .*bad.mp4: not readable as video"):
        predict(config(images=[tmp_path / "in/*"], overwrite=True))
    assert len(below(tmp_path / "out/labels")) == 8


def test_the_same_masks_from_an_onnx_file(config, write, tmp_path, teacher_run) -> None:
    pytest.importorskip("onnxruntime", reason="onnxruntime is not installed")
    exported = pytest.importorskip("fakd.commands.export")
    for index, size in enumerate([(61, 47), (90, 60), (47, 61)]):
        write(f"{index}.png", size)
    file = tmp_path / "student.onnx"
    exported.export(exported.ExportConfig(str(teacher_run), file))
    for name, options in {
        "whole": {},
        "slide": {"window": (32, 32), "stride": (20, 20)},
        "flip": {"flip": True, "scales": (0.75, 1.0)},
    }.items():
        ours, theirs = tmp_path / name / "torch", tmp_path / name / "onnx"
        predict(config(output=ours, **options))
        predict(config(output=theirs, model=file, **options))
        pairs = [
            [np.asarray(Image.open(folder / "labels" / mask)).ravel() for folder in (ours, theirs)]
            for mask in below(ours / "labels")
        ]
        assert len(pairs) == 3
        different = np.concatenate([one != other for one, other in pairs])
        assert different.mean() <= 0.001, name
        assert (ours / "shares.csv").read_text().splitlines()[0] == (theirs / "shares.csv").read_text().splitlines()[0]


def test_onnx_files_that_give_labels(config, write, tmp_path, teacher_run, few_scenes, monkeypatch) -> None:
    pytest.importorskip("onnxruntime", reason="onnxruntime is not installed")
    exported = pytest.importorskip("fakd.commands.export")
    path = write("a.png", (72, 48))  # the size that images are fitted into, so that both decide at every pixel
    files = [tmp_path / "scores.onnx", tmp_path / "labels.onnx"]
    for file, argmax in zip(files, (False, True), strict=True):
        exported.export(exported.ExportConfig(str(teacher_run), file, argmax=argmax))
    masks = [predict(config(model=file, images=path, output=tmp_path / file.stem)) for file in files]
    one, other = (np.asarray(Image.open(mask)) for (mask,) in masks)
    assert (one != other).mean() <= 0.001
    scores = [evaluate(EvaluateConfig(str(file), workers=0)) for file in files]
    assert scores[0]["mIoU"] == pytest.approx(evaluate(EvaluateConfig(teacher_run, workers=0))["mIoU"], abs=0.1)
    assert scores[1]["mIoU"] == pytest.approx(scores[0]["mIoU"], abs=0.1)
    for options in ({"flip": True}, {"scales": (0.5, 1.0)}, {"window": (32, 32)}):
        with pytest.raises(ValueError, match=r"labels\.onnx gives labels and no scores, which windows, --flip and"):
            predict(config(model=files[1], output=tmp_path / "refused", **options))
    # the window of the data set's benchmark is not asked for, so it is no mistake
    spec = replace(DATASETS["toy-scenes"], window=SlidingWindow((32, 32), (20, 20)))
    monkeypatch.setitem(DATASETS, "toy-scenes", spec)
    assert predict(config(model=files[1], output=tmp_path / "whole"))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"batch_size": 0}, "batch_size must be 1 or more, got 0"),
        ({"workers": -1}, "workers must be 0 or more, got -1"),
        ({"every": 0}, "every must be 1 or more, got 0"),
    ],
)
def test_numbers_out_of_range(config, write, tmp_path, changes, message) -> None:
    write("a.png")
    with pytest.raises(ValueError, match=message):
        predict(config(**changes))
    assert not (tmp_path / "out").exists()


def test_the_last_word_is_no_image(config, write, tmp_path) -> None:
    with pytest.raises(FileExistsError, match=r"b\.png is a file: name the folder for the masks"):
        predict(config(images=[write("a.png")], output=write("b.png")))


def test_a_reading_process_that_dies(config, write, tmp_path, monkeypatch) -> None:
    write("a.png")
    monkeypatch.setattr("fakd.evaluation.images.read_image", lambda path: os.kill(os.getpid(), signal.SIGKILL))
    with pytest.raises(ChildProcessError, match="try again with --workers 0"):
        predict(config(workers=1))
