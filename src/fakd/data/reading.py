"""Reading one image or one label map from disk, with errors that say what is wrong with the file.

Pillow reads them, since torchvision 0.29 has deprecated its own decoders.
"""

import struct
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Any
from warnings import catch_warnings

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image, ImageFile, ImageOps, UnidentifiedImageError
from PIL.TiffImagePlugin import BITSPERSAMPLE, SAMPLEFORMAT, SAMPLESPERPIXEL, ImageFileDirectory_v2
from torch import Tensor

from fakd.data.spec import DataError

LabelMap = npt.NDArray[np.integer]
"""(H, W) numbers as they are stored."""

MOST_PIXELS = 89_478_485
"""Pixels that an image may have: where Pillow begins to warn of decompression bombs, 256 MiB of RGB."""

# Not all that Pillow knows: for EPS it starts Ghostscript, whatever the file's name ends in.
_FORMATS = ("PNG", "JPEG", "BMP", "DIB", "GIF", "WEBP", "TIFF", "PPM", "JPEG2000")
_INDEX_MODES = {"1", "L", "P", "I", "I;16", "I;16B", "I;16L"}
# Pillow stretches grey PNGs of 2 and 4 bits to 0-255; dividing by the factor gives the stored index back.
_STRETCH = {"L;2": 85, "L;4": 17}
_ORIENTATION = 0x0112  # EXIF: 1 to 4 keep width and height, 5 to 8 swap them
_FIRST_QUARTER_TURN = 5
_FRACTIONS = 3  # as TIFF's SAMPLEFORMAT
_WHITE, _WHITE_16 = 255, 65535
_DIM = 4096
"""The brightest pixel of 16 bits that leaves next to nothing in 8."""


@dataclass(frozen=True)
class Packed:
    """An image or a mask that is part of a larger file: its bytes, and what messages call it."""

    content: bytes
    name: str

    def __str__(self) -> str:
        return self.name

    def open(self, _mode: str = "rb") -> BytesIO:
        """Open it as `Path.open` does a file."""
        return BytesIO(self.content)


def read_image(path: Path | str | Packed) -> Tensor:
    """Read a photo as RGB, turned upright as its EXIF data say; grey is repeated, alpha is dropped.

    Pixels of 16 bits are divided by 256; fractions from 0 to 1 are multiplied by 255, those from 0 to 255 rounded.

    Returns:
        (3, H, W) uint8.

    Raises:
        DataError: The file is missing, empty, truncated or no image; or its pixels have another range than those.
    """
    path = _given(path)
    with _opened(path, "image") as photo:
        frames = 1 if photo.format == "MPO" else getattr(photo, "n_frames", 1)  # MPO: phones' 3-D photos
        if frames > 1:
            raise DataError(f"{path}: a file of {frames} frames or pages, expected one image. Export one of them.")
        raw_mode = _raw_mode(photo)
        ImageOps.exif_transpose(photo, in_place=True)  # or it copies upright photos too
        if photo.mode == "F" or photo.mode.startswith("I"):  # converting would clip to 255 instead of scaling
            pixels = np.repeat(_eight_bits(np.asarray(photo), path)[..., None], 3, axis=2)
        else:
            pixels = np.asarray(photo if photo.mode == "RGB" else photo.convert("RGB"))
            if ";16" in raw_mode:  # Pillow keeps the upper eight of them
                _check_bright(int(pixels.max()) << 8, path)
    return torch.from_numpy(pixels.transpose(2, 0, 1).copy())


def _eight_bits(values: npt.NDArray[Any], path: Path | Packed) -> npt.NDArray[np.uint8]:
    """Scale (H, W) grey values of more than eight bits, where their range is plain."""
    low, high = values.min(), values.max()
    if values.dtype.kind == "f":
        if not (low >= 0 and high <= _WHITE):  # nor NaN
            raise DataError(
                f"{path}: the pixels are fractions from {low:g} to {high:g}, expected 0 to 1 or 0 to 255. Scale them, "
                "all images alike, and save them again."
            )
        rounded: npt.NDArray[np.uint8] = np.rint(values * (_WHITE if high <= 1 else 1)).astype(np.uint8)
        return rounded
    if values.dtype.itemsize > 2 and low >= 0 and high <= _WHITE:  # no photo has 32 bits
        return values.astype(np.uint8)
    if low < 0 or high > _WHITE_16:
        raise DataError(
            f"{path}: the pixels go from {low} to {high}, expected 0 to 255, or to 65,535. Scale them, all images "
            "alike, and save them again."
        )
    _check_bright(int(high), path)
    return (values >> 8).astype(np.uint8)


def _check_bright(high: int, path: Path | Packed) -> None:
    """Refuse 16 bits that would be next to black in eight: cameras and satellites store 10 or 12 bits so."""
    if high < _DIM:
        raise DataError(
            f"{path}: an image of 16 bits whose brightest pixel is {high:,}, or little more, of 65,535: in 8 bits it "
            "would be black. If its values have fewer bits, as 12, multiply them, all images alike; or save 8 bits."
        )


def read_mask(path: Path | str | Packed) -> LabelMap:
    """Read the raw numbers stored in a mask, turned upright as its EXIF data say; of a palette the indices.

    Returns:
        (H, W) array not to be written to, uint8 where the file has 8 bits or fewer, else a wider integer type.

    Raises:
        DataError: The file is missing, empty, truncated, no image, or stores colours.
    """
    return stored_indices(load_mask(path), path)


def stored_indices(mask: Image.Image, path: Path | str | Packed) -> LabelMap:
    """Return the numbers of a mask that `load_mask` gave; of one whose red, green and blue are the same, those.

    Raises:
        DataError: It stores colours, or fractions.
    """
    mask = one_channel(mask)
    if mask.mode not in _INDEX_MODES:
        kind = "fractions" if mask.mode == "F" else "colours"
        raise DataError(
            f"{path}: the mask stores {kind} (mode {mask.mode}), expected one channel of class indices. "
            "Convert it to a greyscale or palette PNG whose pixel values are the class numbers."
        )
    return np.asarray(mask)


def one_channel(mask: Image.Image) -> Image.Image:
    """The first channel of a picture without colour, whatever its alpha; any other as it is."""
    if mask.mode in ("RGB", "RGBA", "LA"):
        red, *others = mask.split()[:-1] if mask.mode.endswith("A") else mask.split()
        if all(red.tobytes() == other.tobytes() for other in others):
            return red
    return mask


def load_mask(path: Path | str | Packed) -> Image.Image:
    """Read a mask of indices or colours, turned upright as its EXIF data say.

    Returns:
        The picture, decoded. One of a single channel or with a palette has exactly the numbers of the file.

    Raises:
        DataError: The file is missing, empty, truncated or no image.
    """
    path = _given(path)
    with _opened(path, "mask") as mask:
        raw_mode = _raw_mode(mask)
        ImageOps.exif_transpose(mask, in_place=True)
        mask.load()
    if mask.mode == "1":
        return Image.fromarray(np.asarray(mask).astype(np.uint8))
    if raw_mode in _STRETCH:
        return Image.fromarray(np.asarray(mask) // np.uint8(_STRETCH[raw_mode]))
    return mask


def upright_size(path: Path | str | Packed) -> tuple[int, int]:
    """Read (height, width) of an image as `read_image` would give it, without decoding it.

    Raises:
        DataError: The file is missing, empty or no image.
    """
    path = _given(path)
    with _opened(path, "image") as photo:
        width, height = photo.size
    return (width, height) if exif_turns(path) else (height, width)


def exif_turns(path: Path | str | Packed) -> bool:
    """Whether the EXIF data of a readable image turn it by a quarter, so that width and height change places."""
    with _opened(_given(path), "image") as photo:
        return int(photo.getexif().get(_ORIENTATION, 1)) >= _FIRST_QUARTER_TURN


@contextmanager
def _opened(path: Path | Packed, kind: str) -> Iterator[ImageFile.ImageFile]:
    """Open a picture of a size that memory can bear; whatever goes wrong with it is a DataError."""
    try:
        with path.open("rb") as file, Image.open(file, formats=_FORMATS) as picture:
            if (pixels := picture.width * picture.height) > MOST_PIXELS:
                raise Image.DecompressionBombError(f"{picture.width} x {picture.height} = {pixels} pixels")
            yield picture
    except DataError:
        raise
    except Image.DecompressionBombError as error:  # Pillow's own, at twice as many
        reason = str(error).partition(", could be")[0]
        raise DataError(
            f"{path}: too large as {kind} ({reason}), expected {MOST_PIXELS:,} pixels at most. Scale it down, or cut "
            "it into parts."
        ) from error
    except UnidentifiedImageError as error:
        if bands := _bands_of_tiff(path):
            raise DataError(
                f"{path}: a TIFF of {bands}, which is not read as {kind}. Save it with one band or three, of 8 or 16 "
                f"bits{', as PNG' if kind == 'mask' else ''}."
            ) from error
        raise unreadable(path, kind, error) from error
    except Exception as error:  # Pillow raises OSError, SyntaxError, ValueError and others for broken files
        raise unreadable(path, kind, error) from error


def _given(path: Path | str | Packed) -> Path | Packed:
    return path if isinstance(path, Packed) else existing(path)


def _bands_of_tiff(path: Path | Packed) -> str:
    """How many bands of what a whole TIFF has, which Pillow does not know as a picture; "" of other files."""
    with catch_warnings(action="ignore"):  # of what is cut off
        tags = tiff_tags(path)
    if tags is None or not (bits := tags.get(BITSPERSAMPLE)):
        return ""
    bands = tags.get(SAMPLESPERPIXEL, 1)
    kind = "fractions" if tags.get(SAMPLEFORMAT, (1,))[0] == _FRACTIONS else "whole numbers"
    return f"{bands} band{'s' if bands > 1 else ''} of {bits[0]}-bit {kind}"


def tiff_tags(path: Path | Packed) -> ImageFileDirectory_v2 | None:
    """What a TIFF says of itself beside its pixels, by the numbers of the tags; None of other files."""
    try:
        with path.open("rb") as file:
            head = file.read(8)
            if head[:4] not in (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+"):
                return None
            tags = ImageFileDirectory_v2(head + file.read(8) if b"+" in head[:4] else head)  # a BigTIFF has 16 bytes
            file.seek(tags.next)
            tags.load(file)
    except (OSError, SyntaxError, ValueError, KeyError, TypeError, struct.error, EOFError):
        return None  # whoever reads it says what is wrong
    return tags


def _raw_mode(picture: ImageFile.ImageFile) -> str:
    """How a file that is not decoded yet stores its pixels, in Pillow's words."""
    return str(picture.tile[0][3]) if picture.tile else ""


def existing(path: Path | str) -> Path:
    """Return the path of a file that has content.

    Raises:
        DataError: there is none.
    """
    path = Path(path)
    if not path.is_file():
        raise DataError(f"{path}: no such file. Check the path, or restore the file.")
    if path.stat().st_size == 0:
        raise DataError(f"{path}: the file is empty (0 bytes). Copy or download it again.")
    return path


def unreadable(path: Path | str | Packed, kind: str, error: BaseException) -> DataError:
    """What is said of a damaged file, and why the library that reads such files does not."""
    # Pillow repeats the whole path, which the message starts with, or shows the open file.
    reason = (str(error).strip() or type(error).__name__).splitlines()[0].replace(f" {str(path)!r}", "")
    reason = reason.partition(" <_io.")[0]
    return DataError(
        f"{path}: not readable as {kind} ({reason}); the file is truncated, damaged or of another type. "
        "Copy or download it again."
    )
