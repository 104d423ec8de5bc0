"""Reading one image or one mask from disk, with errors that say what is wrong with the file.

Pillow reads both: torchvision 0.29 has deprecated its own decoders.
"""

from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image, ImageOps
from torch import Tensor

from fakd.data.spec import DataError

_INDEX_MODES = {"1", "L", "P", "I", "I;16", "I;16B", "I;16L"}
# Pillow stretches grey PNGs of 2 and 4 bits to 0-255; dividing by the factor gives the stored index back.
_STRETCH = {"L;2": 85, "L;4": 17}


def read_image(path: Path | str) -> Tensor:
    """Read a photo as RGB, turned upright as its EXIF data say; grey is repeated, alpha is dropped.

    Returns:
        (3, H, W) uint8.

    Raises:
        DataError: The file is missing, empty, truncated or no image.
    """
    path = _existing(Path(path))
    try:
        with Image.open(path) as photo:
            frames = 1 if photo.format == "MPO" else getattr(photo, "n_frames", 1)  # MPO: phones' 3-D photos
            upright = ImageOps.exif_transpose(photo)
            if upright.mode.startswith("I;16"):  # converting would clip to 255 instead of scaling
                upright = Image.fromarray((np.asarray(upright) >> 8).astype(np.uint8))
            pixels = np.array(upright.convert("RGB"))
    except Exception as error:  # Pillow raises OSError, SyntaxError, ValueError and others for broken files
        raise _unreadable(path, "image", error) from error
    if frames > 1:
        raise DataError(f"{path}: an animation of {frames} frames, expected one image. Export one frame.")
    return torch.from_numpy(pixels).permute(2, 0, 1).contiguous()


def read_mask(path: Path | str) -> npt.NDArray[np.integer]:
    """Read the raw numbers stored in a mask; of a palette image the indices, not the colours.

    Returns:
        (H, W) array, uint8 where the file has 8 bits or fewer, else a wider integer type.

    Raises:
        DataError: The file is missing, empty, truncated, no image, or stores colours.
    """
    path = _existing(Path(path))
    try:
        with Image.open(path) as mask:
            mode, raw_mode = mask.mode, str(mask.tile[0][3]) if mask.tile else ""
            if mode in _INDEX_MODES:
                values = np.asarray(mask)
    except Exception as error:  # as above
        raise _unreadable(path, "mask", error) from error
    if mode not in _INDEX_MODES:
        raise DataError(
            f"{path}: the mask stores colours (mode {mode}), expected one channel of class indices. "
            "Convert it to a greyscale or palette PNG whose pixel values are the class numbers."
        )
    if mode == "1":
        return values.astype(np.uint8)
    if raw_mode in _STRETCH:
        return np.asarray(values // _STRETCH[raw_mode], dtype=np.uint8)
    return values


def _existing(path: Path) -> Path:
    if not path.is_file():
        raise DataError(f"{path}: no such file. Check the path, or restore the file.")
    if path.stat().st_size == 0:
        raise DataError(f"{path}: the file is empty (0 bytes). Copy or download it again.")
    return path


def _unreadable(path: Path, kind: str, error: Exception) -> DataError:
    # Pillow repeats the whole path, which the message starts with.
    reason = (str(error).strip() or type(error).__name__).splitlines()[0].replace(f" {str(path)!r}", "")
    return DataError(
        f"{path}: not readable as {kind} ({reason}); the file is truncated, damaged or of another type. "
        "Copy or download it again."
    )
