"""Views: a few crops of every image that all runs share, so that what a teacher says about them can be kept."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from torch.utils.data import Dataset

from fakd.data.seeds import permutation, seeded
from fakd.data.spec import Sample, Source
from fakd.data.teacher_logits import LogitStore

View = tuple[int, int]
"""The number of a view, and of its image."""


@dataclass(eq=False)
class Views(Dataset[Sample]):
    """Crops that depend on the view and its image alone: any run draws the same again.

    Args:
        source: Where images come from.
        transform: As in training; may draw from torch's default CPU generator.
    """

    source: Source
    transform: Callable[[Sample], Sample]

    def __len__(self) -> int:
        """Return the number of images; each has as many views as are asked for."""
        return len(self.source)

    def __getitem__(self, key: View) -> Sample:
        """Return one view of one image."""
        view, index = key
        sample = self.source[index]
        with seeded("view", view, index):
            return self.transform(sample)


@dataclass(eq=False)
class TaughtViews(Dataset[Sample]):
    """Views together with what a teacher says about them, as a run of training sees them.

    Each epoch shows one view of every image: all of them in turn, then again, in an order of (seed, index) alone. So
    runs of other seeds see the same crops in another order.

    Args:
        views: Draws the crops.
        logits: Holds the teacher's logits of them.
        count: How many views an image has.
        seed: Seed of their order.
    """

    views: Views
    logits: LogitStore
    count: int
    seed: int

    def __len__(self) -> int:
        """Return the number of images."""
        return len(self.views)

    def __getitem__(self, key: View) -> Sample:
        """Return image `index` as seen in `epoch`, with the teacher's logits; `key` is (epoch, index).

        Raises:
            DataError: The logits are missing or damaged, see `LogitStore.read`.
        """
        epoch, index = key
        view = self._order(index)[epoch % self.count]
        return self.views[view, index]._replace(teacher_logits=self.logits.read(view, index))

    def needed(self, epochs: Sequence[int]) -> list[View]:
        """List the views that so many epochs of each image show, those of an image one after the other."""
        return [(view, index) for index, seen in enumerate(epochs) for view in sorted(self._order(index)[:seen])]

    def _order(self, index: int) -> list[int]:
        return permutation(self.count, "views", self.seed, index)
