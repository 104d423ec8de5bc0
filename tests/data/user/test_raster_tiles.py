"""Rasters and their masks, read tile by tile."""

import numpy as np
import pytest
import torch
from folders import write_image, write_mask
from PIL import Image
from rasters import TRANSFORM, noise, rasterio, write_raster

from fakd.data import DataError, get_dataset
from fakd.data.bands import Bands
from fakd.data.held_out import with_held_out
from fakd.data.image_cache import CachedSource, image_sizes
from fakd.data.paired_files import PairedFiles, image_identity
from fakd.data.transforms import TrainTransform

CLASSES = "road\ncar 255 0 0\nsky\n"


@pytest.fixture
def town(tmp_path):
    """A raster of 100 x 70 (height x width) with its mask, of which a part has no data."""
    image, mask = noise(4, 100, 70), noise(1, 100, 70, seed=1) % 3
    image[:, 40:60, 30:50] = 0
    write_raster(tmp_path / "images/town.tif", image, nodata=0)
    write_raster(tmp_path / "masks/town.tif", mask)
    (tmp_path / "classes.txt").write_text(CLASSES)
    expected = mask[0].copy()
    expected[40:60, 30:50] = 255
    return tmp_path, image, expected


def opened(root, bands=None, tile=(32, 48)):
    return get_dataset("folder", root, bands, tile).open(root, "train")


def test_tiles_show_every_pixel_once(town) -> None:
    root, image, expected = town
    source = opened(root)
    assert [sample.name for sample in source][:3] == ["images/town/0-0", "images/town/0-22", "images/town/32-0"]
    seen, counts = np.full((100, 70), 255), np.zeros(256, int)
    for sample in source:
        top, left = map(int, sample.name.split("/")[-1].split("-"))
        assert np.array_equal(sample.image.numpy(), image[:3, top : top + 32, left : left + 48])
        known = sample.label != 255
        seen[top : top + 32, left : left + 48][known] = sample.label[known]
        counts += np.bincount(sample.label.flatten(), minlength=256)
    assert len(source) == 8
    assert np.array_equal(seen, expected)
    assert counts[:3].tolist() == np.bincount(expected.flatten(), minlength=256)[:3].tolist()
    source.check()
    assert source.pixels.tolist() == counts.tolist()
    assert torch.equal(source.count(3), torch.bincount(source[3].label.flatten(), minlength=256))


def test_whole_where_they_are_small_beside_ordinary_images(town) -> None:
    root, _, expected = town
    write_image(root / "images/z.jpg", (20, 10))
    write_mask(root / "masks/z.png", 2, (20, 10))
    spec = get_dataset("folder", root)
    assert spec.base_size == (100, 70)
    source = spec.open(root, "train")
    assert [tuple(sample.image.shape) for sample in source] == [(3, 100, 70), (3, 10, 20)]
    assert np.array_equal(source[0].label.numpy(), expected)
    (root / "images/town.tif").unlink()
    (root / "masks/town.tif").unlink()
    assert type(get_dataset("folder", root).open(root, "train")) is PairedFiles


def test_what_else_looks_at_a_source(town) -> None:
    root, _, _ = town
    source = opened(root, Bands((4, 1, 2, 3)))
    assert image_sizes(source) == [(32, 48)] * 8
    cached = CachedSource(source, image_sizes(source), channels=4)
    assert all(torch.equal(one, other) for one, other in zip(cached[5][:2], source[5][:2], strict=True))
    found = {image_identity(source, index) for index in range(8)} | {image_identity(opened(root), 0)}
    assert len(found) == 9
    part = source.part([1, 6])
    assert [sample.name for sample in part] == [source[index].name for index in (1, 6)]
    spec = get_dataset("folder", root, None, (32, 48))
    halves = [with_held_out(spec, 0.5).open(root, split) for split in ("train", "val")]
    names = [sample.name for half in halves for sample in half]
    assert sorted(names) == sorted(sample.name for sample in opened(root))
    crop = TrainTransform((32, 48), (64, 64), scale=(1, 1))(source[0])
    assert crop.image.shape == (4, 64, 64)
    assert (crop.image[:, crop.label == 255] == 115).any()


@pytest.mark.parametrize("kind", ["colours", "palette", "png", "nodata"])
def test_masks_as_they_are_stored(kind, town) -> None:
    root, _, expected = town
    values = np.where(expected == 255, 0, expected).astype(np.uint8)
    path = root / "masks/town.tif"
    if kind == "colours":
        (root / "classes.txt").write_text("road 1 2 3\ncar 255 0 0\nsky 0 0 9\n")
        colours = np.array([(1, 2, 3), (255, 0, 0), (0, 0, 9)], dtype=np.uint8)
        write_raster(path, colours[values].transpose(2, 0, 1), photometric="rgb")
    elif kind == "palette":
        with rasterio.open(path, "r+") as file:
            file.write(values, 1)
            file.write_colormap(1, {0: (7, 7, 7, 255), 1: (255, 0, 0, 255), 2: (1, 1, 1, 255)})
    elif kind == "png":
        path.unlink()
        Image.fromarray(values).save(path.with_suffix(".png"))
    else:
        wide = values[None].astype(np.int16)
        wide[:, :10], expected[:10] = -99, 255
        write_raster(path, wide, nodata=-99)
    source = opened(root, tile=(100, 70))
    assert np.array_equal(source[0].label.numpy(), expected)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"transform": TRANSFORM * rasterio.Affine.translation(1, 0)}, "another georeference than its image"),
        ({"crs": "EPSG:32634"}, "another georeference than its image"),
        ({"height": 99}, r"the mask has 70x99 pixels \(width x height\), but its image .* has 70x100"),
        ({"dtype": "float32"}, "the mask stores float32, expected class indices"),
        ({}, "label value 7 outside the classes, expected only 0-2, 255"),
    ],
)
def test_masks_that_cannot_be_read(change, message, town) -> None:
    root, _, _ = town
    values = np.full((1, change.get("height", 100), 70), 7 if not change else 1)
    write_raster(root / "masks/town.tif", values.astype(change.get("dtype", "uint8")), **change)
    source = opened(root)
    with pytest.raises(DataError, match=message):
        source.check()
    assert all("masks/town.tif" in fault for fault in source.faults(0))


def test_a_damaged_raster_is_a_fault_of_its_own(town) -> None:
    root, _, _ = town
    write_raster(root / "images/a.tif", noise(3, 40, 50))
    write_raster(root / "masks/a.tif", noise(1, 40, 50) % 3)
    (root / "images/a.tif").write_bytes((root / "images/a.tif").read_bytes()[:400])
    source = opened(root)
    faulty = [bool(source.faults(index)) for index in range(len(source))]
    assert faulty == ["a.tif" in image.name for image, _ in source.pairs]
    with pytest.raises(DataError, match=r"a\.tif: not readable as a raster"):
        source.check()


def test_bands_are_for_tiffs_of_ones_own(town) -> None:
    root, _, _ = town
    write_image(root / "images/z.jpg")
    write_mask(root / "masks/z.png")
    with pytest.raises(DataError, match=r"z\.jpg: no TIFF file, of which bands are read"):
        opened(root, Bands((1, 2)))
    with pytest.raises(ValueError, match="--bands and --value-range are for --dataset folder, not for toy-scenes"):
        get_dataset("toy-scenes", None, Bands((1, 2)))
