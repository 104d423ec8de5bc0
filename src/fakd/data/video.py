"""Reading a video frame by frame, so that its length costs no memory."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from fakd.data.extras import required
from fakd.data.reading import MOST_PIXELS
from fakd.data.spec import DataError

if TYPE_CHECKING:
    from av import VideoFrame
    from av.container import InputContainer

VIDEO_SUFFIXES = (".mp4", ".m4v", ".mov", ".avi", ".mkv", ".webm")
"""Files that are taken for videos."""

# FFmpeg would follow a playlist that is named clip.mp4 to other files, and into the network.
_ONLY_THESE = {"format_whitelist": "mov,mp4,avi,matroska,webm", "protocol_whitelist": "file"}

_EARLY_END = 0.5, 0.05  # seconds, and share of the length: files are not that exact about it


def read_video(path: Path, every: int = 1) -> Iterator[tuple[int, Tensor]]:
    """Decode a video from its start to its end, one frame at a time, turned upright as the file says.

    What is damaged is passed over, and raised at the end: whoever iterates has every frame that could be decoded. An
    AVI that was cut between two frames looks whole.

    Args:
        path: of the file; its first video stream is taken.
        every: frames from one that is given to the next.

    Yields:
        The number of a frame in the stream, from 0, and its pixels, (3, H, W) uint8 RGB.

    Raises:
        DataError: it is no video, or parts of it cannot be decoded, or its frames are too large.
        ModuleNotFoundError: PyAV is not installed.
    """
    av = require_av()
    count, damaged, end = 0, "", 0.0
    with _opened(path) as container:
        stream = container.streams.video[0]
        stream.thread_type = "AUTO"
        # Before anything of that size is allocated.
        stream.codec_context.options = {"max_pixels": str(MOST_PIXELS)}
        for packet in container.demux():
            if packet.pts is not None:
                end = max(end, float((packet.pts + (packet.duration or 0)) * packet.time_base))
            if packet.stream is not stream:
                continue
            try:
                frames = stream.decode(packet)
            except av.FFmpegError as error:
                damaged = damaged or f"after frame {count}: {error.strerror or error}"
                continue
            for frame in frames:
                if count % every == 0:
                    yield count, _pixels(frame)
                count += 1
        due = ((container.start_time or 0) + (container.duration or 0)) / av.time_base
    if not damaged and end < due - _EARLY_END[0] - _EARLY_END[1] * due:
        damaged = f"it ends at second {end:.1f} of {due:.1f}"
    if damaged or not count:
        raise DataError(
            f"{path}: {count} frames could be decoded, but not all ({damaged or 'it holds none'}); the file is "
            "truncated or damaged. Copy or download it again."
        )


def count_frames(path: Path) -> int:
    """How many frames a video says it has; 0 where it does not say, or cannot be read."""
    try:
        with _opened(path) as container:
            return int(container.streams.video[0].frames)
    except DataError:
        return 0


def require_av() -> Any:
    """Import PyAV, as `required` does."""
    return required("av", "video", "videos need")


@contextmanager
def _opened(path: Path) -> Iterator["InputContainer"]:
    """Open a file that has a video stream; whatever goes wrong with it is a DataError."""
    av = require_av()
    try:
        with av.open(str(path.absolute()), options=_ONLY_THESE, metadata_errors="replace") as container:
            if not container.streams.video:
                raise DataError(f"{path}: it holds no video stream; the file is truncated, or of another type.")
            yield container
    except av.FFmpegError as error:
        raise DataError(
            f"{path}: not readable as video ({error.strerror or error}); the file is truncated, damaged or of another "
            "type. Copy or download it again."
        ) from error


def _pixels(frame: "VideoFrame") -> Tensor:
    """(3, H, W) uint8, turned by the quarters that a phone writes beside what its sensor saw."""
    pixels = torch.from_numpy(frame.to_ndarray(format="rgb24"))
    return torch.rot90(pixels, round(frame.rotation / 90), (0, 1)).permute(2, 0, 1).contiguous()
