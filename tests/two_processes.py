"""A group of two processes that talk by gloo, for tests that start them with `torch.multiprocessing.spawn`."""

import os
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path

import torch.distributed as dist


@contextmanager
def one_of_two(rank: int, folder: str) -> Iterator[None]:
    """Meet the other process by a file in this folder, and leave it at the end."""
    os.environ["GLOO_SOCKET_IFNAME"] = "lo0" if sys.platform == "darwin" else "lo"
    dist.init_process_group("gloo", init_method=f"file://{folder}/store", rank=rank, world_size=2)
    yield
    # PyTorch 2.6 holds Python's lock while it waits for gloo's threads to end. One that has just answered needs it
    # to let go of its tensors, so both may wait for ever. A barrier is one more such answer, and does not help.
    time.sleep(0.5)
    dist.destroy_process_group()


def work_of_each(rank: int, folder: str, modules: tuple[str, ...]) -> None:
    """Call `work(rank, folder)` of each test module, all in one group and each in a folder of its name."""
    with one_of_two(rank, folder):
        for name in modules:
            Path(folder, name).mkdir(exist_ok=True)
            import_module(name).work(rank, f"{folder}/{name}")
