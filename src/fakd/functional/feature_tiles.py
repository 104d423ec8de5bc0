"""Maps of features as rows, one per pixel, some pixels and channels at a time, so that they stay in the cache."""

from collections.abc import Iterator

import torch
from torch import Tensor

from fakd.functional.inputs import full_precision

Tile = tuple[slice, slice]

# Channels and numbers of a tile. On the CPU, 4 MB of float32 in rows of two cache lines; elsewhere whole rows, and
# what bounds the memory.
_CHANNELS, _ON_CPU, _ELSEWHERE = 32, 2**20, 2**25

# Pixels that are turned from columns to rows at a time.
_STRIP = 4096


def feature_rows(features: Tensor) -> Tensor:
    """(B, A, h, w) as (B * h * w, A), free of charge where the features are channels-last."""
    return features.permute(0, 2, 3, 1).flatten(0, 2)


def feature_tiles(features: Tensor) -> Iterator[list[Tile]]:
    """Yield, for one block of pixels after the other, the tiles (pixels, channels) that it is divided into.

    Args:
        features: (B, A, h, w).

    Example:
        >>> import torch
        >>> list(feature_tiles(torch.zeros(1, 40, 2, 3)))
        [[(slice(0, 6, None), slice(0, 32, None)), (slice(0, 6, None), slice(32, 40, None))]]
    """
    images, channels, height, width = features.shape
    rows = images * height * width
    on_cpu = features.device.type == "cpu"
    across = _CHANNELS if on_cpu else channels
    down = max((_ON_CPU if on_cpu else _ELSEWHERE) // across, 1)
    for first in range(0, rows, down):
        pixels = slice(first, min(first + down, rows))
        yield [(pixels, slice(c, min(c + across, channels))) for c in range(0, channels, across)]


class TileReader:
    """Copies tiles of features into one buffer, in float32 or wider.

    Args:
        features: (B, A, h, w) in any layout and floating type.
        largest: the largest tile to come.

    Attributes:
        spare: another buffer of that size, for the caller.
    """

    def __init__(self, features: Tensor, largest: Tile) -> None:
        self._rows = features.permute(0, 2, 3, 1)
        self._by_rows = self._rows.is_contiguous()
        self._maps = features.flatten(2) if not self._by_rows else features
        pixels, channels = (part.stop - part.start for part in largest)
        dtype = full_precision(features[:0]).dtype
        self.buffer = features.new_empty(pixels * channels, dtype=dtype)
        self.spare = torch.empty_like(self.buffer)
        if features.device.type == "cpu" and not self._by_rows:
            self._strip = features.new_empty(channels, min(_STRIP, self._maps.shape[2]) + 16, dtype=dtype)

    def read(self, pixels: slice, channels: slice) -> Tensor:
        """The tile (pixels, channels), to be used, and overwritten if need be, until the next is read."""
        shape = (pixels.stop - pixels.start, channels.stop - channels.start)
        tile = self.buffer[: shape[0] * shape[1]].view(shape)
        if self._by_rows:
            return tile.copy_(self._rows.flatten(0, 2)[pixels, channels])
        size, done = self._maps.shape[2], 0
        while done < len(tile):
            image, first = divmod(pixels.start + done, size)
            width = min(_STRIP, size - first, len(tile) - done)
            tile[done : done + width] = self._columns(self._maps[image, channels, first : first + width]).T
            done += width
        return tile

    def _columns(self, columns: Tensor) -> Tensor:
        """On the CPU a copy whose lines lie 16 numbers further apart.

        In the maps, a channel lies h * w numbers from the next, often a power of two: the lines that make up a row
        would push each other out of the cache.
        """
        if columns.device.type != "cpu":
            return columns
        return self._strip[: len(columns), : columns.shape[1]].copy_(columns)
