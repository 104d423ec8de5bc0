"""The batches of a training run: crops in the order of a seed, whole images one by one."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import count, islice
from math import ceil
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, Sampler

from fakd.data.image_cache import CachedSource
from fakd.data.seeds import mixed_seed, permutation, seeded
from fakd.data.spec import SPLITS, DatasetSpec, Sample, Source
from fakd.data.transforms import EvalTransform, TrainTransform
from fakd.data.unlabelled import JoinedSource, RelabelledSource, UnlabelledImages
from fakd.data.views import TaughtViews, View, Views


@dataclass(eq=False)
class SegmentationDataset(Dataset[Sample]):
    """Samples whose augmentation depends on (seed, epoch, index) alone.

    So it is the same for any number of workers and after a resume, and the global random state is untouched.

    Args:
        source: Where samples come from.
        transform: Applied to every sample; may draw from torch's default CPU generator.
        seed: Seed of all augmentation.
    """

    source: Source
    transform: Callable[[Sample], Sample]
    seed: int

    def __len__(self) -> int:
        """Return the number of samples."""
        return len(self.source)

    def __getitem__(self, key: int | tuple[int, int]) -> Sample:
        """Return sample `index` as seen in `epoch`; `key` is (epoch, index), or an index of epoch 0."""
        epoch, index = (0, key) if isinstance(key, int) else key
        sample = self.source[index]
        with seeded("augment", self.seed, epoch, index):
            return self.transform(sample)


@dataclass(eq=False)
class StepBatchSampler(Sampler[list[tuple[int, int]]]):
    """Endless batches of (epoch, index), a pure function of the seed and the step.

    The permutations of epoch 0, 1, 2, ... are laid end to end, and step k takes the k-th run of `batch_size`
    items. So every batch is full, every sample comes once per epoch, and training resumes at any step.
    It has no length: the trainer's `max_steps` ends it.

    Args:
        length: Number of samples.
        batch_size: Samples per step over all ranks together.
        seed: Seed of the permutations.
        start_step: The first step to give.
        rank: This process; it gets `batch[rank::world_size]`.
        world_size: Number of processes.
        part: Which images these are; each part has permutations of its own.
        first: The index of the first of them.

    Raises:
        ValueError: A number is out of range, or `batch_size` is not divisible by `world_size`.
    """

    length: int
    batch_size: int
    seed: int
    start_step: int = 0
    rank: int = 0
    world_size: int = 1
    part: str = "order"
    first: int = 0

    def __post_init__(self) -> None:
        if self.length < 1:
            raise ValueError(f"length is {self.length}, expected at least one sample")
        if self.batch_size < 1:
            raise ValueError(f"batch_size is {self.batch_size}, expected at least 1")
        if self.batch_size % self.world_size:
            possible = -(-self.batch_size // self.world_size) * self.world_size
            raise ValueError(
                f"batch_size {self.batch_size} counts all processes together and must be a multiple of their "
                f"number, {self.world_size}; the next possible one is {possible}"
            )

    def __iter__(self) -> Iterator[list[tuple[int, int]]]:
        """Give this rank's share of every step from `start_step` on."""
        first, offset = divmod(self.start_step * self.batch_size, self.length)
        order = (
            (epoch, self.first + index)
            for epoch in count(first)
            for index in permutation(self.length, self.part, self.seed, epoch)
        )
        items = islice(order, offset, None)
        while True:
            yield list(islice(items, self.batch_size))[self.rank :: self.world_size]


@dataclass(eq=False)
class JoinedBatchSampler(Sampler[list[tuple[int, int]]]):
    """Batches that hold a batch of each part, one after the other: of labelled images, then of unlabelled ones."""

    parts: Sequence[StepBatchSampler]

    def __iter__(self) -> Iterator[list[tuple[int, int]]]:
        """Give the parts' steps side by side."""
        for batches in zip(*self.parts, strict=True):
            yield [key for batch in batches for key in batch]


class SegmentationData:
    """Training crops without end, and whole validation images one by one.

    Batches are `Sample`s of uint8 tensors; the caller converts them to floats on the device. Where several processes
    train, each says by `rank` and `world_size` which of them it is, and is given its share.

    Args:
        spec: The data set.
        root: Its folder; None for a data set that is made, not read.
        base_size: (height, width) in pixels that images are fitted into; None takes the data set's own.
        crop_size: (height, width) in pixels of training crops; None takes the data set's own.
        batch_size: Crops of labelled images per step over all processes together.
        workers: Loader processes per rank; 0 loads in the training process.
        seed: Seed of order and augmentation.
        photometric: Whether colours are augmented, see `TrainTransform`.
        scale: Range of the random ratio, see `TrainTransform`.
    """

    def __init__(
        self,
        spec: DatasetSpec,
        root: Path | None = None,
        base_size: tuple[int, int] | None = None,
        crop_size: tuple[int, int] | None = None,
        batch_size: int = 16,
        workers: int = 0,
        seed: int = 0,
        photometric: bool = False,
        scale: tuple[float, float] = (0.5, 2.0),
    ) -> None:
        self.spec = spec
        self.root = root
        self.batch_size = batch_size
        self.workers = workers
        self.seed = seed
        self.rank, self.world_size = 0, 1
        self.taught: TaughtViews | None = None
        """Crops that a teacher's logits come with, to train on; None draws crops anew in every epoch."""
        self.cached: CachedSource | None = None
        """The training images, decoded; None decodes each when it is asked for."""
        self.unlabelled: UnlabelledImages | None = None
        """Images to train on beside those of the data set, which may then have none."""
        self.unlabelled_batch = 0
        """Crops of these per step over all processes together."""
        base_size = base_size or spec.base_size
        self.train_transform = TrainTransform(
            base_size, crop_size or spec.crop_size, scale=scale, photometric=photometric
        )
        self.eval_transform = EvalTransform(base_size)
        self._sources: dict[str, Source] = {}

    def source(self, split: str) -> Source:
        """Return the untransformed images of "train" or "val", opened on first use.

        Raises:
            DataError: The data set is not there, or its files do not pair up.
        """
        if split not in self._sources:
            self._sources[split] = self.spec.open(self.root, split)
        return self._sources[split]

    def check(self) -> None:
        """Read every file of both splits once, and every unlabelled image.

        Raises:
            DataError: A file is at fault; the message names it.
        """
        for split in SPLITS:
            self.source(split).check()
        if self.unlabelled is not None:
            self.unlabelled.check()

    def train_dataloader(self, start_step: int = 0) -> DataLoader[Sample]:
        """Return the endless loader of training crops, from a step on."""
        steps = JoinedBatchSampler(
            [
                StepBatchSampler(length, size, self.seed, start_step, self.rank, self.world_size, part, first)
                for part, first, length, size in self._parts()
            ]
        )
        drawn = SegmentationDataset(self._decoded_images(), self.train_transform, self.seed)
        return self._loader(drawn if self.taught is None else self.taught, batch_sampler=steps)

    def views(self) -> Views:
        """Return the fixed crops of the training images."""
        return Views(self._decoded_images(), self.train_transform)

    def passes(self, steps: int) -> list[int]:
        """How many epochs so many steps show of each training image, the last one perhaps in part."""
        return [ceil(steps * size / length) for _, _, length, size in self._parts() for _ in range(length)]

    def some_views(self, keys: Sequence[View]) -> DataLoader[Sample]:
        """Return the loader of some views of the training images, in this order; the same on every rank."""
        return self._loader(self.views(), sampler=keys, batch_size=self.batch_size)

    def whole_images(self, indices: Sequence[int], split: str = "train") -> DataLoader[Sample]:
        """Return the loader of some images, whole, fitted, in this order and one by one; the same on every rank."""
        dataset = SegmentationDataset(self.source(split), self.eval_transform, self.seed)
        return self._loader(dataset, sampler=indices, batch_size=1)

    def val_dataloader(self) -> DataLoader[Sample]:
        """Return the loader of whole validation images, batch size 1 as sizes may differ.

        Each image counts exactly once over all ranks, so ranks may differ by one image.
        """
        return self.whole_images(self.val_indices(), "val")

    def val_indices(self) -> range:
        """Which validation images this process looks at."""
        return range(self.rank, len(self.source("val")), self.world_size)

    def relabel_val(self, labels: Mapping[int, Tensor]) -> None:
        """Have validation images from now on other labels, (H, W) by index; for those of `val_indices` at least."""
        self._sources["val"] = RelabelledSource(self.source("val"), labels)

    def training_images(self) -> Source:
        """Return the untransformed images to train on: the labelled ones, then the others."""
        labelled = self.source("train")
        return labelled if self.unlabelled is None else JoinedSource([labelled, self.unlabelled])

    def _decoded_images(self) -> Source:
        return self.training_images() if self.cached is None else self.cached

    def _parts(self) -> list[tuple[str, int, int, int]]:
        """Of labelled images and of others: what their order is drawn for, the first, how many, crops per step."""
        labelled = len(self.source("train"))
        own = [("order", 0, labelled, self.batch_size)]
        if self.unlabelled is None:
            return own
        others = ("unlabelled", labelled, len(self.unlabelled), self.unlabelled_batch)
        return [*own, others] if labelled else [others]

    def _loader(self, dataset: Dataset[Sample], **batching: Any) -> DataLoader[Sample]:
        return DataLoader(
            dataset,
            num_workers=self.workers,
            persistent_workers=self.workers > 0,
            pin_memory=torch.cuda.is_available(),
            # An own generator: the loader draws a seed per pass, which would shift the network's dropout.
            generator=torch.Generator().manual_seed(mixed_seed("loader", self.seed)),
            **batching,
        )
