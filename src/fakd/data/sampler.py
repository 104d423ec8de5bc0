"""Which samples make up which training step."""

from collections.abc import Iterator

import torch
from torch.utils.data import Sampler

from fakd.data.seeding import mixed_seed


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

    Raises:
        ValueError: A number is out of range, or `batch_size` is not divisible by `world_size`.
    """

    def __init__(
        self,
        length: int,
        batch_size: int,
        seed: int,
        start_step: int = 0,
        rank: int = 0,
        world_size: int = 1,
    ) -> None:
        if length < 1:
            raise ValueError(f"length is {length}, expected at least one sample")
        if batch_size < 1:
            raise ValueError(f"batch_size is {batch_size}, expected at least 1")
        if start_step < 0:
            raise ValueError(f"start_step is {start_step}, expected 0 or more")
        if not 0 <= rank < world_size:
            raise ValueError(f"rank is {rank} of {world_size}, expected 0 <= rank < world_size")
        if batch_size % world_size:
            raise ValueError(
                f"batch_size {batch_size} counts all processes together and must be a multiple of their "
                f"number, {world_size}; the next possible one is {-(-batch_size // world_size) * world_size}"
            )
        self.length = length
        self.batch_size = batch_size
        self.seed = seed
        self.start_step = start_step
        self.rank = rank
        self.world_size = world_size

    def __iter__(self) -> Iterator[list[tuple[int, int]]]:
        """Give this rank's share of every step from `start_step` on."""
        epoch, offset = divmod(self.start_step * self.batch_size, self.length)
        order = self._permutation(epoch)
        while True:
            batch: list[tuple[int, int]] = []
            while len(batch) < self.batch_size:
                if offset == self.length:
                    epoch, offset = epoch + 1, 0
                    order = self._permutation(epoch)
                batch.append((epoch, order[offset]))
                offset += 1
            yield batch[self.rank :: self.world_size]

    def _permutation(self, epoch: int) -> list[int]:
        generator = torch.Generator().manual_seed(mixed_seed("order", self.seed, epoch))
        order: list[int] = torch.randperm(self.length, generator=generator).tolist()
        return order
