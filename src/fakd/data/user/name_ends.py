"""What the names of images and of their masks end in, as x_photo.jpg beside x_gt.png."""

import os
import re
from bisect import bisect_left
from collections import Counter
from collections.abc import Collection, Iterator
from itertools import takewhile

from fakd.data.spec import DataError

# An ending starts like a new word and is not only a number, or 0001 would be taken for the partner of 0002.
_ENDING = re.compile(r"[_\-. ][^/]*[^\W\d_]{2}[^/]*|")
_ASKED = 200
_TRIED = 8
_NEIGHBOURS = 8


def find_ends(images: Collection[str], masks: Collection[str], advice: str) -> tuple[str, str]:
    """Find the two endings that make most images and masks partners once they are stripped.

    Args:
        images: Names below the folder of images, without file suffix.
        masks: As well.
        advice: What to do if there are none, for the error.

    Returns:
        Ending of images and ending of masks; both are empty where most names are the same.

    Raises:
        DataError: No endings pair more than half of the fewer files, or several do so equally well.
    """
    least = min(len(images), len(masks)) / 2
    if _count(images, masks, "", "") > least:
        return "", ""
    candidates = [ends for ends, _ in Counter(_shared(images, masks)).most_common(_TRIED)]
    paired = {ends: _count(images, masks, *ends) for ends in candidates}
    best = max(paired.values(), default=0)
    winners = [ends for ends, count in paired.items() if count == best]
    if best <= least:
        raise DataError(
            f"no rule pairs images with masks: images are named as {min(images)}, masks as {min(masks)}. {advice}"
        )
    if len(winners) > 1:
        pairs = " or ".join(f'"{image}" with "{mask}"' for image, mask in winners)
        raise DataError(f"unclear which masks belong to the images, those of names ending in {pairs}. {advice}")
    return winners[0]


def _shared(images: Collection[str], masks: Collection[str]) -> Iterator[tuple[str, str]]:
    """Give the endings of some images and of the masks around it in the alphabet, beyond what they share."""
    ordered = sorted(masks)
    for image in sorted(images)[:: max(1, len(images) // _ASKED)]:
        place = bisect_left(ordered, image)
        for mask in ordered[max(place - _NEIGHBOURS, 0) : place + _NEIGHBOURS]:
            stem = image[: sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], zip(image, mask, strict=False)))]
            # Usually the shared part goes beyond the word: x_p of x_photo and x_png.
            for cut in (len(stem), max(map(stem.rfind, "_-. "))):
                ends = image[cut:], mask[cut:]
                if os.path.basename(stem[: max(cut, 0)]) and all(map(_ENDING.fullmatch, ends)):
                    yield ends
                    break


def _count(images: Collection[str], masks: Collection[str], image_end: str, mask_end: str) -> int:
    bare = {name.removesuffix(image_end) for name in images if name.endswith(image_end)}
    return len(bare & {name.removesuffix(mask_end) for name in masks if name.endswith(mask_end)})
