"""Pictures as text within a page."""

import base64
from io import BytesIO

import numpy as np
from PIL import Image
from torch import Tensor
from torchvision.transforms.v2 import functional as F

from fakd.data.palette import Palette
from fakd.types import IGNORE_INDEX

WIDTH = 480
"""Pixels that a picture on the page is wide at most."""


def shrink(picture: Tensor, width: int = WIDTH) -> Tensor:
    """Resize to at most that width: a (3, H, W) image smoothly, a (H, W) mask to the nearest pixel."""
    if picture.shape[-1] <= width:
        return picture
    size = [max(1, round(picture.shape[-2] * width / picture.shape[-1])), width]
    if picture.ndim == 3:
        image: Tensor = F.resize_image(picture, size, antialias=True)
        return image
    mask: Tensor = F.resize_mask(picture.unsqueeze(0), size)[0]
    return mask


def image_uri(image: Tensor) -> str:
    """A (3, H, W) uint8 image as a JPEG."""
    return _uri(Image.fromarray(image.permute(1, 2, 0).cpu().numpy()), "jpeg", quality=80, optimize=True)


def mask_uri(mask: Tensor, palette: Palette) -> str:
    """(H, W) class indices as a PNG of their colours; ignored pixels are transparent."""
    indices = mask.cpu().numpy().astype(np.uint8)
    ignored = len(palette)  # next to the classes: a small palette needs fewer bits a pixel
    indices[indices == IGNORE_INDEX] = ignored
    picture = Image.fromarray(indices, "P")
    picture.putpalette([value for colour in (*palette, (0, 0, 0)) for value in colour])
    bits = next(bits for bits in (1, 2, 4, 8) if ignored < 1 << bits)
    return _uri(picture, "png", optimize=True, transparency=ignored, bits=bits)


def _uri(picture: Image.Image, kind: str, **options: object) -> str:
    buffer = BytesIO()
    picture.save(buffer, kind, **options)
    return f"data:image/{kind};base64,{base64.b64encode(buffer.getvalue()).decode()}"
