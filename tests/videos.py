"""Short videos, written on the spot."""

from fractions import Fraction
from pathlib import Path

import av
import numpy as np

CODECS = {".mkv": ("ffv1", "bgr0"), ".avi": ("ffv1", "bgr0"), ".mov": ("png", "rgb24"), ".mp4": ("mpeg4", "yuv420p")}
"""Suffix -> codec and how it stores pixels; all but the last give every pixel back."""
CODECS[".webm"] = ("libvpx-vp9", "yuv420p")


def noise(count: int, size: tuple[int, int] = (48, 72)) -> np.ndarray:
    """(count, H, W, 3) uint8 frames, each of its own brightness."""
    rng = np.random.default_rng(0)
    levels = np.linspace(0, 200, count).astype(np.uint8)[:, None, None, None]
    return levels + rng.integers(0, 40, (count, *size, 3), dtype=np.uint8)


def write_video(path: Path, frames: np.ndarray) -> Path:
    """Encode frames by the codec that goes with the file's suffix."""
    codec, pixel_format = CODECS[path.suffix]
    path.parent.mkdir(parents=True, exist_ok=True)
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=Fraction(25))
        stream.height, stream.width = frames.shape[1:3]
        stream.pix_fmt = pixel_format
        for frame in frames:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(frame, format="rgb24")))
        container.mux(stream.encode(None))
    return path
