"""Rows sorted by their class and cut into short runs of one class each: sums by class, of a size known beforehand."""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor


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
