"""The loaders of a training run."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch.utils.data import DataLoader

from fakd.data.image_cache import CachedSource
from fakd.data.loading import SegmentationDataset, StepBatchSampler, mixed_seed
from fakd.data.spec import SPLITS, DatasetSpec, Sample, Source
from fakd.data.teacher_logits import LogitStore
from fakd.data.transforms import EvalTransform, TrainTransform


class SegmentationData:
    """Training crops without end, and whole validation images one by one.

    Batches are `Sample`s of uint8 tensors; the caller converts them to floats on the device. Where several processes
    train, each says by `rank` and `world_size` which of them it is, and is given its share.

    Args:
        spec: The data set.
        root: Its folder; None for a data set that is made, not read.
        base_size: (height, width) in pixels that images are fitted into; None takes the data set's own.
        crop_size: (height, width) in pixels of training crops; None takes the data set's own.
        batch_size: Crops per step over all processes together.
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
        self.taught: LogitStore | None = None
        """A teacher's logits of the training images, to come with every crop."""
        self.cached: CachedSource | None = None
        """The training images, decoded; None decodes each when it is asked for."""
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
        """Read every file of both splits once.

        Raises:
            DataError: A file is at fault; the message names it.
        """
        for split in SPLITS:
            self.source(split).check()

    def train_dataloader(self, start_step: int = 0) -> DataLoader[Sample]:
        """Return the endless loader of training crops, from a step on."""
        source = self.source("train")
        steps = StepBatchSampler(len(source), self.batch_size, self.seed, start_step, self.rank, self.world_size)
        dataset = SegmentationDataset(
            source if self.cached is None else self.cached, self.train_transform, self.seed, self.taught
        )
        return self._loader(dataset, batch_sampler=steps)

    def whole_images(self, indices: Sequence[int], split: str = "train") -> DataLoader[Sample]:
        """Return the loader of some images, whole, fitted, in this order and one by one; the same on every rank."""
        dataset = SegmentationDataset(self.source(split), self.eval_transform, self.seed)
        return self._loader(dataset, sampler=indices, batch_size=1)

    def val_dataloader(self) -> DataLoader[Sample]:
        """Return the loader of whole validation images, batch size 1 as sizes may differ.

        Each image counts exactly once over all ranks, so ranks may differ by one image.
        """
        share = range(self.rank, len(self.source("val")), self.world_size)
        dataset = SegmentationDataset(self.source("val"), self.eval_transform, self.seed)
        return self._loader(dataset, sampler=share, batch_size=1)

    def _loader(self, dataset: SegmentationDataset, **batching: Any) -> DataLoader[Sample]:
        return DataLoader(
            dataset,
            num_workers=self.workers,
            persistent_workers=self.workers > 0,
            pin_memory=torch.cuda.is_available(),
            # An own generator: the loader draws a seed per pass, which would shift the network's dropout.
            generator=torch.Generator().manual_seed(mixed_seed("loader", self.seed)),
            **batching,
        )
