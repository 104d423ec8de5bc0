"""Images that are refused before the scores of all their pixels for all classes fill the memory."""

from collections.abc import Sequence

from rich.filesize import decimal

MOST_SCORES = 8 << 30
"""Bytes of float32 scores of one image: 150 classes and 14 million pixels."""


def lack_of_room(title: str, shape: Sequence[int], num_classes: int) -> str:
    """Say what is wrong with an image that is too large; "" where nothing is.

    Args:
        title: of the image, for the message.
        shape: (..., height, width) of the image, in pixels.
        num_classes: that are scored.
    """
    height, width = shape[-2:]
    if (scores := height * width * num_classes * 4) <= MOST_SCORES:
        return ""
    return (
        f"{title}: {width} x {height} pixels take {decimal(scores)} of scores for {num_classes} classes, expected "
        f"{decimal(MOST_SCORES)} at most. Scale it down, or cut it into parts."
    )
