"""A source with a transform, as torch's DataLoader wants it."""

from collections.abc import Callable

from torch.utils.data import Dataset

from fakd.data.logit_store import LogitStore
from fakd.data.seeding import seeded
from fakd.data.spec import Sample, Source


class SegmentationDataset(Dataset[Sample]):
    """Samples whose augmentation depends on (seed, epoch, index) alone.

    So it is the same for any number of workers and after a resume, and the global random state is untouched.

    Args:
        source: Where samples come from.
        transform: Applied to every sample; may draw from torch's default CPU generator.
        seed: Seed of all augmentation.
        taught: A teacher's logits of the images of this source, to come with each sample.
    """

    def __init__(
        self, source: Source, transform: Callable[[Sample], Sample], seed: int, taught: LogitStore | None = None
    ) -> None:
        self.source = source
        self.transform = transform
        self.seed = seed
        self.taught = taught

    def __len__(self) -> int:
        """Return the number of samples."""
        return len(self.source)

    def __getitem__(self, key: int | tuple[int, int]) -> Sample:
        """Return sample `index` as seen in `epoch`; `key` is (epoch, index), or an index of epoch 0."""
        epoch, index = (0, key) if isinstance(key, int) else key
        sample = self.source[index]
        with seeded("augment", self.seed, epoch, index):
            sample = self.transform(sample)
        return sample if self.taught is None else sample._replace(teacher_logits=self.taught.cut(index, sample))
