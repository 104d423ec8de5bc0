"""Masks of rasters: those of `predict_logits` with the same windows, in the memory of a few of them."""

import re
from itertools import product
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from rasters import TRANSFORM, noise, rasterio, write_raster

from fakd.commands.predict import PredictConfig, predict
from fakd.data import DataError
from fakd.data.spec import SlidingWindow
from fakd.evaluation import Inference, predict_logits, raster_windows
from fakd.models import load_model

WINDOW = SlidingWindow((48, 72), (32, 48))


@pytest.fixture
def config(tmp_path, teacher_run):
    def make(**changes) -> PredictConfig:
        given = {"model": teacher_run, "images": tmp_path / "in", "output": tmp_path / "out", "device": "cpu"}
        return PredictConfig(**{**given, **changes})

    return make


def labels_in(path: Path) -> np.ndarray:
    with rasterio.open(path) as file:
        assert file.transform == TRANSFORM
        return file.read(1)


@pytest.mark.parametrize(("options", "most"), [({}, 1), ({"flip": True, "batch_size": 3}, 1 << 27)])
def test_masks_are_those_of_the_whole_image(options, most, config, tmp_path, teacher_run, monkeypatch) -> None:
    monkeypatch.setattr(raster_windows, "BLOCK", 16)  # so that there are several strips
    monkeypatch.setattr(raster_windows, "_MOST_SCORES", most)
    values = noise(3, 101, 170)
    values[:, 20:70, 30:90] = 0
    path = write_raster(tmp_path / "in/town.tif", values, nodata=0)
    assert predict(config(**options)) == [tmp_path / "out/labels/town.tif"]

    model, _ = load_model(teacher_run)
    image = torch.from_numpy(values)[None]
    if options:  # flipped in each window, not as a whole
        sums, counts = torch.zeros(12, 101, 170), torch.zeros(101, 170)
        for top, left in product((0, 32, 53), (0, 48, 96, 98)):
            part = (..., slice(top, top + 48), slice(left, left + 72))
            sums[part] += predict_logits(model, image[part], (48, 72), Inference(flip=True))[0]
            counts[part] += 1
        expected = (sums / counts).argmax(0).numpy()
    else:
        expected = predict_logits(model, image, (101, 170), Inference(WINDOW)).argmax(1)[0].numpy()
    expected[20:70, 30:90] = 255
    found = labels_in(tmp_path / "out/labels/town.tif")
    assert len(np.unique(expected)) > 2
    assert (found != expected).mean() < 1e-3  # batches round otherwise
    assert (tmp_path / "out/images/town.tif").resolve() == path.resolve()
    row = (tmp_path / "out/shares.csv").read_text().splitlines()[1].split(",")
    assert row[1] == "town.tif"
    assert sum(map(float, row[2:])) == pytest.approx((found != 255).mean(), abs=1e-5)


def test_smaller_than_a_window_and_unsure(config, tmp_path, teacher_run) -> None:
    values = noise(3, 30, 40)
    write_raster(tmp_path / "in/a.tif", values)
    predict(config(ignore_below=0.5))
    scores = predict_logits(load_model(teacher_run)[0], torch.from_numpy(values)[None], (30, 40), Inference(WINDOW))
    best, expected = scores.softmax(1).max(1)
    expected[best < 0.5] = 255
    assert np.array_equal(labels_in(tmp_path / "out/labels/a.tif"), expected[0].numpy())


def test_a_raster_at_fault_stops_no_other(config, tmp_path) -> None:
    write_raster(tmp_path / "in/deep.tif", noise(3, 40, 50).astype(np.uint16) * 100)
    write_raster(tmp_path / "in/whole.tif", noise(3, 40, 50))
    with pytest.raises(DataError, match=r"1 of 2 images could not be read:\n.*deep\.tif: values of uint16"):
        predict(config())
    assert labels_in(tmp_path / "out/labels/whole.tif").shape == (40, 50)
    assert not (tmp_path / "out/labels/deep.tif").exists()


def test_as_many_bands_as_the_network_has_channels(config, tmp_path) -> None:
    write_raster(tmp_path / "in/a.tif", noise(5, 40, 50))
    with pytest.raises(ValueError, match=r"takes images of 3 channels, and 4 bands are read: .* as --bands 1,2,3"):
        predict(config(bands=(1, 2, 3, 4)))


def _memory(entry: str) -> int:
    """Bytes that this process takes, or took at most since the last reset."""
    found = re.search(rf"{entry}:\s+(\d+) kB", Path("/proc/self/status").read_text())
    assert found
    return 1024 * int(found[1])


@pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="Linux says what was taken at most")
def test_memory_of_a_few_windows(config, tmp_path) -> None:
    side, part = 13_000, noise(3, 700, 700)
    form = {"driver": "GTiff", "height": side, "width": side, "count": 3, "dtype": "uint8", "nodata": 0}
    tiles = {"tiled": True, "sparse_ok": True, "compress": "deflate", "transform": TRANSFORM, "crs": "EPSG:32633"}
    (tmp_path / "in").mkdir()
    with rasterio.open(tmp_path / "in/large.tif", "w", **form, **tiles) as file:
        for corner in (0, 6300, side - 700):
            file.write(part, window=rasterio.windows.Window(corner, corner, 700, 700))
    Path("/proc/self/clear_refs").write_text("5")
    before = _memory("VmRSS")
    predict(config(window=(512, 512), stride=(500, 500), workers=0, batch_size=1))
    assert _memory("VmHWM") - before < 400e6  # the image alone is 507 MB, its scores 8.1 GB
    with rasterio.open(tmp_path / "out/labels/large.tif") as mask:
        for row, column, seen in ((0, 0, True), (6400, 6400, True), (side - 1, side - 1, True), (6400, 50, False)):
            value = mask.read(1, window=rasterio.windows.Window(column, row, 1, 1)).item()
            assert (value != 255) is seen


def test_bands_of_tiffs_beside_other_images(config, tmp_path) -> None:
    values = noise(5, 60, 90)
    write_raster(tmp_path / "in/a.tif", values)
    write_raster(tmp_path / "plain/a.tif", values[[4, 0, 2]])
    Image.new("RGB", (40, 30)).save(tmp_path / "in/b.png")
    with pytest.raises(DataError, match=r"1 of 2 images could not be read:\n.*b\.png: no TIFF file"):
        predict(config(bands=(5, 1, 3)))
    predict(config(images=tmp_path / "plain", output=tmp_path / "same"))
    found, expected = (labels_in(tmp_path / out / "labels/a.tif") for out in ("out", "same"))
    assert np.array_equal(found, expected)
    assert len(np.unique(found)) > 2
