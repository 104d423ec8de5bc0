"""Rasters read a window at a time, and masks with their georeference."""

import struct
import sys

import numpy as np
import pytest
import torch
from PIL import Image
from rasters import TRANSFORM, noise, rasterio, write_raster

from fakd.data import DataError
from fakd.data.bands import Bands
from fakd.data.cropping import Window
from fakd.data.raster import is_raster, mask_raster, open_raster

WHOLE = Window(0, 0, 40, 50)


@pytest.fixture
def rgb(tmp_path):
    return write_raster(tmp_path / "rgb.tif", noise(3, 40, 50))


def read(path, bands=None, window=WHOLE):
    with open_raster(path, bands) as raster:
        image, seen = raster.read(window)
    return image.numpy(), seen


@pytest.mark.filterwarnings("ignore")
def test_which_files_are_rasters(rgb, tmp_path) -> None:
    plain = {"crs": None, "transform": None}
    assert is_raster(rgb)
    assert is_raster(write_raster(tmp_path / "big.TIF", noise(3, 40, 50), bigtiff="yes"))
    assert is_raster(write_raster(tmp_path / "five.tif", noise(5, 40, 50), **plain))
    huge = {"driver": "GTiff", "height": 10_000, "width": 10_000, "count": 3, "dtype": "uint8", "sparse_ok": True}
    rasterio.open(tmp_path / "huge.tif", "w", **huge).close()
    assert is_raster(tmp_path / "huge.tif")
    rgba = write_raster(tmp_path / "rgba.tif", noise(4, 40, 50), **plain)
    assert not is_raster(rgba)
    assert is_raster(rgba, Bands((1, 2, 3, 4)))
    (tmp_path / "rgba.tfw").write_text("1\n0\n0\n-1\n5\n5\n")
    assert is_raster(rgba)
    (tmp_path / "broken.tif").write_bytes(b"II*\0" + b"\xff" * 9)
    Image.new("RGB", (4, 4)).save(tmp_path / "a.png")
    assert not is_raster(tmp_path / "broken.tif")
    # a width and a height that are words
    words = [struct.pack("<HHI4s", tag, 2, 4, b"abc\0") for tag in (256, 257)]
    (tmp_path / "words.tif").write_bytes(b"II*\0" + struct.pack("<IH", 8, 2) + b"".join(words) + bytes(4))
    assert not is_raster(tmp_path / "words.tif")
    assert not is_raster(tmp_path / "a.png")
    with pytest.raises(DataError, match=r"a\.png: no TIFF file, of which bands are read"):
        is_raster(tmp_path / "a.png", Bands((1, 2, 3)))


def test_a_window_is_the_part_of_the_whole(rgb) -> None:
    with rasterio.open(rgb) as file:
        whole = file.read()
    image, seen = read(rgb, window=Window(7, 11, 20, 30))
    assert np.array_equal(image, whole[:, 7:27, 11:41])
    assert seen.all()


def test_bands_in_the_order_asked_and_a_single_one_thrice(tmp_path) -> None:
    values = noise(5, 40, 50)
    path = write_raster(tmp_path / "five.tif", values)
    assert np.array_equal(read(path)[0], values[:3])
    assert np.array_equal(read(path, Bands((5, 2)))[0], values[[4, 1]])
    grey = write_raster(tmp_path / "grey.tif", values[:1])
    assert np.array_equal(read(grey)[0], values[[0, 0, 0]])
    with pytest.raises(DataError, match=r"grey\.tif: 1 bands, expected band 4 too\. Say by --bands"):
        read(grey, Bands((1, 4)))


def test_more_bits_by_the_range_that_is_stated(tmp_path) -> None:
    values = np.array([0, 50, 1000, 5000, 10_000, 65_535], dtype=np.uint16).reshape(1, 1, 6).repeat(2, 0)
    path = write_raster(tmp_path / "deep.tif", values)
    image, _ = read(path, Bands((1, 2), (0, 10_000, 1000, 2000)), Window(0, 0, 1, 6))
    assert image[0, 0].tolist() == [0, 1, 26, 128, 255, 255]  # 255 * value / 10000, rounded
    assert image[1, 0].tolist() == [0, 0, 0, 255, 255, 255]
    message = r"deep\.tif: values of uint16, in its middle from 0 to 65535, expected 8 bits\. Say .* --value-range"
    with pytest.raises(DataError, match=message):
        read(path)


@pytest.mark.parametrize("nodata", [0, 255, None])
def test_where_there_are_no_data(nodata, tmp_path) -> None:
    values = noise(3, 40, 50).clip(1, 254)
    values[0, 5, 5] = 0  # in one band alone it is a value
    values[:, 10:20, 10:30] = 0 if nodata is None else nodata
    alpha = np.full((1, 40, 50), 255, np.uint8)
    alpha[:, 10:20, 10:30] = 0
    if nodata is None:
        path = write_raster(tmp_path / "a.tif", np.concatenate([values, alpha]), photometric="rgb", alpha="yes")
    else:
        path = write_raster(tmp_path / "a.tif", values, nodata=nodata)
    image, seen = read(path)
    assert np.array_equal(seen, alpha[0] > 0)
    assert (image[:, ~seen] == 0).all()
    assert np.array_equal(image[:, seen], values[:, seen])


def test_a_band_that_is_asked_for_is_no_alpha(tmp_path) -> None:
    values = noise(4, 40, 50)
    values[3, :, :25] = 0
    path = write_raster(tmp_path / "infrared.tif", values)  # GDAL takes its fourth band for alpha
    assert not read(path)[1][:, :25].any()
    image, seen = read(path, Bands((4, 1, 2)))
    assert seen.all()
    assert np.array_equal(image, values[[3, 0, 1]])


def test_what_is_no_number_is_no_datum(tmp_path) -> None:
    values = np.full((1, 40, 50), 0.5, np.float32)
    values[0, 3, 4], values[0, 5, 6] = np.nan, np.inf
    image, seen = read(write_raster(tmp_path / "f.tif", values), Bands(None, (0, 1)))
    assert np.argwhere(~seen).tolist() == [[3, 4], [5, 6]]
    assert image[:, seen].tolist() == np.full((3, 1998), 128).tolist()


def test_a_damaged_file_is_named(rgb) -> None:
    rgb.write_bytes(rgb.read_bytes()[:3000])
    with pytest.raises(DataError, match=r"rgb\.tif: not readable as a raster \(.*Copy or download it again"):
        read(rgb)


@pytest.mark.parametrize(
    ("bands", "message"),
    [
        ({"numbers": (0, 1)}, "counted from 1, as --bands 1,2,3; got '0,1'"),
        ({"numbers": ()}, "bands must be numbers"),
        ({"value_range": (5, 5)}, "the smaller first, as --value-range 0,10000.*got 5,5"),
        ({"value_range": (0, 1, 2)}, "two for each of the 3 bands"),
        ({"value_range": (0, float("nan"))}, "value_range must be two numbers"),
    ],
)
def test_bands_that_cannot_be(bands, message) -> None:
    with pytest.raises(ValueError, match=message):
        Bands(**bands)


def test_bands_are_kept_with_a_network() -> None:
    for bands in (Bands(), Bands((4, 3, 2), (0, 10_000)), Bands((1,))):
        assert Bands.of_notes(bands.notes(), "a network") == bands
    for damaged in ('"1"', "[1"):
        with pytest.raises(ValueError, match="a network: its bands or value_range are damaged"):
            Bands.of_notes({"bands": damaged}, "a network")


@pytest.mark.parametrize("points", [False, True])
@pytest.mark.parametrize("kind", ["Area", "Point"])
def test_a_mask_has_the_georeference_to_the_digit(points, kind, tmp_path) -> None:
    values = noise(3, 700, 600)
    corners = [rasterio.control.GroundControlPoint(row, 2 * row, 10.1 + row, 47.3, 1.5) for row in (0, 100, 250)]
    where = {"transform": None, "gcps": corners} if points else {}
    path = write_raster(tmp_path / "a.tif", values, **where)
    with rasterio.open(path, "r+") as file:
        file.update_tags(AREA_OR_POINT=kind)
    labels = torch.from_numpy(values[0] % 3)
    with (
        open_raster(path) as raster,
        mask_raster(tmp_path / "m.tif", raster, [(9, 8, 7), (1, 2, 3), (4, 5, 6)]) as write,
    ):
        write(Window(0, 0, 512, 600), labels[:512])
        write(Window(512, 0, 188, 600), labels[512:])
    with rasterio.open(path) as image, rasterio.open(tmp_path / "m.tif") as mask:
        assert np.array_equal(mask.read(1), labels.numpy())
        assert (mask.crs, mask.transform) == (image.crs, image.transform)
        assert points or mask.tags()["AREA_OR_POINT"] == kind
        assert (mask.transform == TRANSFORM) is not points
        assert [(p.row, p.col, p.x, p.y, p.z) for p in mask.gcps[0]] == [
            (p.row, p.col, p.x, p.y, p.z) for p in image.gcps[0]
        ]
        assert mask.gcps[1] == image.gcps[1]
        assert mask.profile["tiled"]
        assert mask.compression.value == "DEFLATE"
        assert mask.nodata == 255
        assert mask.colormap(1)[1] == (1, 2, 3, 255)
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith(".")] == []


def test_without_rasterio(rgb, monkeypatch) -> None:
    monkeypatch.setitem(sys.modules, "rasterio", None)
    with pytest.raises(ModuleNotFoundError, match=r"georeferenced and very large TIFF files need .*\[geo\]"):
        read(rgb)
