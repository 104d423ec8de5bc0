"""Random numbers that depend on what they are for, and on nothing that was drawn before."""

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager

import torch


def mixed_seed(*parts: int | str) -> int:
    """Hash the parts to 64 bits, so that neighbouring seeds, epochs and indices share no random numbers."""
    return int.from_bytes(hashlib.blake2b(repr(parts).encode(), digest_size=8).digest(), "little")


@contextmanager
def seeded(*parts: int | str) -> Iterator[None]:
    """Seed torch's CPU generator from the parts, and put back its state afterwards."""
    with torch.random.fork_rng(devices=[]):
        # Not torch.manual_seed: it would also reset the GPU's generator, and with it dropout.
        torch.default_generator.manual_seed(mixed_seed(*parts))
        yield


def permutation(length: int, *parts: int | str) -> list[int]:
    """Draw an order of 0, 1, ..., length - 1 from the parts."""
    order: list[int] = torch.randperm(length, generator=torch.Generator().manual_seed(mixed_seed(*parts))).tolist()
    return order
