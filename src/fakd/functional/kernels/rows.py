"""Features as rows, one per pixel, in tiles; and the runs of pixels of one class in them."""

from collections.abc import Iterator
from dataclasses import dataclass

import torch
import torch.nn.functional as F
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


@dataclass(frozen=True)
class ClassRuns:
    """N rows in the order of their classes, as at most N / longest + 1 + C runs of 1..longest rows of one class.

    How many runs there are depends on N, C and `longest` alone: the host never waits for a GPU to count the rows
    of a class. The runs that are not needed are empty.

    Example:
        >>> runs = ClassRuns.sort(torch.tensor([1, 0, 1, 1]), num_classes=2, longest=2)
        >>> runs.count.tolist(), runs.sum(torch.tensor([[1.0], [10.0], [2.0], [4.0]])).flatten().tolist()
        ([1, 3], [10.0, 7.0])
    """

    order: Tensor
    """(N,), the rows sorted by class."""
    starts: Tensor
    """(R,), the place in `order` where each run begins; it ends where the next begins."""
    owners: Tensor
    """(R,), the class of each run; of an empty one, any."""
    count: Tensor
    """(C,), rows of each class."""

    @classmethod
    def sort(cls, classes: Tensor, num_classes: int, longest: int) -> "ClassRuns":
        """Sort rows by class.

        Args:
            classes: (N,) int64 in 0..C-1, N > 0.
            num_classes: C.
            longest: the most rows of a run.
        """
        rows = len(classes)
        ordered, order = classes.sort()
        bounds = torch.searchsorted(ordered, torch.arange(num_classes + 1, device=classes.device))
        cuts = torch.arange(0, rows, longest, device=classes.device)
        starts = torch.cat([bounds[:-1], cuts]).sort().values
        return cls(order, starts, ordered[starts.clamp_max(rows - 1)], bounds.diff())

    def sum(self, values: Tensor) -> Tensor:
        """The sum of each class's rows: (N, A) to (C, A).

        No more than `longest` rows are added up before their sum is: one long sum would drown its last terms.
        """
        # PyTorch before 2.10 has no embedding_bag on Apple's GPUs
        sum_runs = self._add_to_runs if values.device.type == "mps" else self._sum_runs
        sums = values.new_zeros(len(self.count), values.shape[1])
        return sums.index_add_(0, self.owners, sum_runs(values))

    def _sum_runs(self, values: Tensor) -> Tensor:
        return F.embedding_bag(self.order, values, self.starts, mode="sum")

    def _add_to_runs(self, values: Tensor) -> Tensor:
        places = torch.arange(len(self.order), device=values.device)
        runs = torch.searchsorted(self.starts, places, right=True) - 1
        return values.new_zeros(len(self.starts), values.shape[1]).index_add_(0, runs, values[self.order])

    def tiles(self, longest: int) -> tuple[Tensor, Tensor]:
        """The runs as the rows of a table: row numbers (R, longest), and which of them the run has.

        Args:
            longest: as the runs were cut.
        """
        places = self.starts.unsqueeze(1) + torch.arange(longest, device=self.starts.device)
        ends = F.pad(self.starts[1:], (0, 1), value=len(self.order))
        return self.order[places.clamp_max(len(self.order) - 1)], places < ends.unsqueeze(1)
