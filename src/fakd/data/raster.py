"""Georeferenced and very large TIFF files, read and written by rasterio a window at a time."""

import struct
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image
from PIL.TiffImagePlugin import IMAGELENGTH, IMAGEWIDTH, SAMPLESPERPIXEL
from torch import Tensor

from fakd.data.bands import Bands
from fakd.data.cropping import Window
from fakd.data.extras import required
from fakd.data.palette import Palette
from fakd.data.reading import MOST_PIXELS, tiff_tags, unreadable
from fakd.data.spec import DataError
from fakd.files.atomic import written_at_once
from fakd.types import IGNORE_INDEX

BLOCK = 512
"""Side of the tiles that a mask is stored in."""

RASTER_SUFFIXES = (".tif", ".tiff")
_GEOREFERENCE = (33550, 33922, 34264, 34735)
"""TIFF's tags ModelPixelScale, ModelTiepoint, ModelTransformation, GeoKeyDirectory."""
_MOST_CHANNELS = 4
_CACHE = 128
"""MB of decoded tiles that GDAL may keep, in place of a twentieth of the machine's memory."""
_SEEN = 512
"""Side of the part that is looked at to say what values a file has."""
_DRIVERS = {".tif": "GTiff", ".tiff": "GTiff", ".png": "PNG", ".bmp": "BMP"}
"""What reads images, and masks. Others of GDAL's follow what stands in a file to other files, and into the network."""


def is_raster(path: Path, bands: Bands | None = None) -> bool:
    """Whether rasterio reads a file: a TIFF with a georeference, more than 4 bands, or more pixels than Pillow takes.

    Args:
        path: of a file; others than TIFF files are none.
        bands: where something is said of them, any TIFF is one.

    Raises:
        DataError: something is said of bands, and the file is no TIFF.
    """
    chosen = bands is not None and bands.chosen
    if path.suffix.lower() not in RASTER_SUFFIXES:
        if chosen:
            raise DataError(
                f"{path}: no TIFF file, of which bands are read (--bands, --value-range, or as in training). "
                "Leave it out, or convert it."
            )
        return False
    if chosen:
        return True
    if (tags := tiff_tags(path)) is None:
        return False
    try:
        pixels, channels = int(tags[IMAGEWIDTH]) * int(tags[IMAGELENGTH]), int(tags.get(SAMPLESPERPIXEL, 1))
    except (KeyError, TypeError, ValueError, struct.error):  # Pillow decodes a tag once it is asked for
        return False  # damaged: whoever reads it says how
    large = pixels > MOST_PIXELS or channels > _MOST_CHANNELS
    return large or any(tag in tags for tag in _GEOREFERENCE) or path.with_suffix(".tfw").is_file()


def require_rasterio() -> Any:
    """Import rasterio, as `required` does."""
    return required("rasterio", "geo", "georeferenced and very large TIFF files need")


class Raster:
    """An open TIFF file, of which any part can be read; `open_raster` gives one."""

    def __init__(self, path: Path, dataset: Any, bands: Bands) -> None:
        self.path, self.dataset = path, dataset
        self.size: tuple[int, int] = (dataset.height, dataset.width)
        """(height, width) in pixels."""
        first = (1, 2, 3) if dataset.count >= _MOST_CHANNELS - 1 else (1, 1, 1)
        self._numbers = list(bands.numbers or first)
        if max(self._numbers) > dataset.count:
            raise DataError(
                f"{path}: {dataset.count} bands, expected band {max(self._numbers)} too. Say by --bands which are "
                "meant."
            )
        kinds = {dataset.dtypes[number - 1] for number in self._numbers}
        if bands.value_range is None and kinds != {"uint8"}:
            raise DataError(
                f"{path}: values of {', '.join(sorted(kinds))}, {self._values()}, expected 8 bits. Say what is black "
                "and what is white, as --value-range 0,10000."
            )
        # Four bands of 8 bits are taken for colours and alpha by nearly all that write them, infrared or not.
        alpha = [number for number, kind in enumerate(dataset.colorinterp, 1) if kind.name == "alpha"]
        self._masked = dataset.nodata is not None or not set(alpha) & set(self._numbers)
        given = bands.value_range
        self._range = None if given is None else np.array(given, np.float32).reshape(-1, 2, 1, 1)

    def read(self, window: Window) -> tuple[Tensor, npt.NDArray[np.bool_]]:
        """Read a part.

        Args:
            window: in pixels, inside the raster.

        Returns:
            (channels, h, w) uint8, 0 where there are no data; and (h, w) whether there are. Where nodata is a value,
            there are none where all bands have it.

        Raises:
            DataError: the file is damaged.
        """
        place = _place(window)
        try:
            seen = np.ones((window.height, window.width), dtype=np.bool_)
            if self._masked:
                seen = self.dataset.dataset_mask(window=place) > 0
            if not seen.any():  # as in most of what satellites send
                return torch.zeros(len(self._numbers), *seen.shape, dtype=torch.uint8), seen
            values = self.dataset.read(self._numbers, window=place)
        except OSError as error:
            raise _unreadable(self.path, error) from error
        if values.dtype.kind == "f":
            seen &= np.isfinite(values).all(0)
        if self._range is not None:
            low, high = self._range[:, 0], self._range[:, 1]
            with np.errstate(invalid="ignore"):  # of what is no number, and not seen
                values = np.rint((values.astype(np.float32) - low) * (255 / (high - low)))
            values = np.nan_to_num(values).clip(0, 255).astype(np.uint8)
        if not seen.all():
            values *= seen
        return torch.from_numpy(values), seen

    def _values(self) -> str:
        height, width = (min(side, _SEEN) for side in self.size)
        middle = Window((self.size[0] - height) // 2, (self.size[1] - width) // 2, height, width)
        values = self.dataset.read(sorted(set(self._numbers)), window=_place(middle), masked=True)
        return f"in its middle from {values.min()} to {values.max()}" if values.count() else "and no data in its middle"


@contextmanager
def open_raster(path: Path, bands: Bands | None = None) -> Iterator[Raster]:
    """Open a TIFF file without reading its pixels.

    Raises:
        DataError: it is damaged, lacks a band, or has more than 8 bits and nothing says what they mean.
        ModuleNotFoundError: rasterio is not installed.
    """
    with _opened(path) as dataset:
        yield Raster(path, dataset, bands or Bands())


def read_mask_window(path: Path, window: Window, image: Raster) -> tuple[Image.Image, npt.NDArray[np.bool_]]:
    """Read a part of the mask of a raster, whatever its colours or values mean.

    Args:
        path: of the mask; a TIFF, PNG or BMP.
        window: in pixels.
        image: that the mask belongs to.

    Returns:
        The part as a picture: of values, of colours, or of indices with their palette; and (h, w) whether the mask says
        something there, which is everywhere but where it has its nodata value or is transparent.

    Raises:
        DataError: the mask is damaged, or does not lie on its image.
    """
    place = _place(window)
    with _opened(path) as mask:
        _require_same_place(path, mask, image)
        try:
            values = mask.read(window=place)
            known: npt.NDArray[np.bool_] = mask.dataset_mask(window=place) > 0
            table = mask.colormap(1) if mask.count == 1 and mask.dtypes[0] == "uint8" else {}
        except ValueError:  # it has no colours
            table = {}
        except OSError as error:
            raise _unreadable(path, error) from error
    if len(values) > 2 and values.dtype == np.uint8:
        return Image.fromarray(values[:3].transpose(1, 2, 0).copy()), known
    if values.dtype.kind not in "iu" or values.dtype.itemsize > 4:
        raise DataError(
            f"{path}: the mask stores {values.dtype}, expected class indices of 8 or 16 bits. Convert it, as by "
            "gdal_translate -ot Byte."
        )
    picture = Image.fromarray(values[0] if values.dtype in (np.uint8, np.uint16) else values[0].astype(np.int32))
    if table:
        picture.putpalette([part for index in range(256) for part in table.get(index, (0, 0, 0))[:3]])
    return picture, known


def _require_same_place(path: Path, mask: Any, image: Raster) -> None:
    (height, width), own = image.size, image.dataset
    if (mask.height, mask.width) != image.size:
        raise DataError(
            f"{path}: the mask has {mask.width}x{mask.height} pixels (width x height), but its image {image.path} has "
            f"{width}x{height}. Make them the same size; scale masks with nearest neighbour."
        )
    corners = [[one.xy(*corner) for corner in ((0, 0), (height - 1, width - 1))] for one in (own, mask)]
    pixel = abs(own.transform.a) + abs(own.transform.b)
    apart = max(abs(one - other) for pair in zip(*corners, strict=True) for one, other in zip(*pair, strict=True))
    if own.crs and mask.crs and (own.crs != mask.crs or apart > pixel / 2):
        raise DataError(
            f"{path}: the mask has another georeference than its image {image.path}, so the two do not lie on each "
            "other. Warp the mask to the image's grid with nearest neighbour."
        )


@contextmanager
def _opened(path: Path) -> Iterator[Any]:
    rasterio = require_rasterio()
    with rasterio.Env(GDAL_CACHEMAX=_CACHE):
        try:
            dataset = rasterio.open(path.absolute(), driver=_DRIVERS[path.suffix.lower()])
        except OSError as error:
            raise _unreadable(path, error) from error
        with dataset:
            yield dataset


def _place(window: Window) -> Any:
    from rasterio.windows import Window as Place

    return Place(window.left, window.top, window.width, window.height)


def _unreadable(path: Path, error: Exception) -> DataError:
    # rasterio names GDAL's reason as the cause.
    return unreadable(path, "a raster", error.__cause__ or error)


WriteLabels = Callable[[Window, Tensor], None]
"""Writes (h, w) uint8 labels to a place of a mask."""


@contextmanager
def mask_raster(path: Path, like: Raster, palette: Palette) -> Iterator[WriteLabels]:
    """Write a mask as a tiled, compressed GeoTIFF with the georeference of its image, part by part.

    It has 8 bits, a colour table, and 255 as nodata. Parts should be multiples of `BLOCK` at multiples of it, or tiles
    are compressed more than once.

    Args:
        path: seen once all is written.
        like: the image.
        palette: one colour a class.
    """
    rasterio, image = require_rasterio(), like.dataset
    points, points_crs = image.gcps
    georeference = {"gcps": points, "crs": points_crs} if points else {"crs": image.crs, "transform": image.transform}
    form = {"tiled": True, "blockxsize": BLOCK, "blockysize": BLOCK, "compress": "deflate", "bigtiff": "if_safer"}
    height, width = like.size
    with (
        written_at_once(path) as temporary,
        rasterio.open(
            temporary.absolute(),
            "w",
            driver="GTiff",
            height=height,
            width=width,
            count=1,
            dtype="uint8",
            nodata=IGNORE_INDEX,
            **georeference,
            **form,
        ) as mask,
    ):
        mask.write_colormap(1, {index: (*colour, 255) for index, colour in enumerate(palette)})
        if image.rpcs is not None:
            mask.rpcs = image.rpcs
        kind = image.tags().get("AREA_OR_POINT")
        if kind is not None and not points:  # which GDAL would move by a pixel
            mask.update_tags(AREA_OR_POINT=kind)

        def write(window: Window, labels: Tensor) -> None:
            mask.write(labels.numpy(), 1, window=_place(window))

        yield write
