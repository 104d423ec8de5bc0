"""Work on the CPU shared out once a call: each thread takes one piece after the other, and none waits for another.

PyTorch's own threads share out every operation, and meet again at its end. Where operations last less than a
millisecond and other processes want the same cores, they mostly wait for the one of them that was pushed aside.
"""

import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from functools import cache
from threading import Barrier
from time import perf_counter, thread_time
from typing import Any, TypeVar

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

Piece = TypeVar("Piece")
Result = TypeVar("Result")
Space = TypeVar("Space")


WORTH_IT = 2**18
"""Numbers from which on threads gain more than they cost."""


def worker_count(tensor: Tensor) -> int:
    """How many threads work on this tensor: on a CPU as many as PyTorch's, where it is large; elsewhere 1."""
    return torch.get_num_threads() if tensor.device.type == "cpu" and tensor.numel() > WORTH_IT else 1


def in_groups(items: Iterable[Piece], groups: int) -> list[list[Piece]]:
    """Neighbours together, in at most so many groups of about equal size: what each group sums up has a fixed order.

    Example:
        >>> in_groups(range(5), 2)
        [[0, 1, 2], [3, 4]]
    """
    items = list(items)
    size = -(-len(items) // groups)
    return [items[first : first + size] for first in range(0, len(items), size)]


def share_out(
    work: Callable[[Iterator[Piece], Space], None], pieces: Iterable[Piece], workspaces: Sequence[Space]
) -> None:
    """Let as many threads as there are workspaces take turns in taking pieces.

    Args:
        work: called once in each thread with an iterator over the pieces that fall to it, which no other gets, and
            its workspace. What the pieces write must not overlap. Operations in it have one thread, and record no
            gradient.
        pieces: in the order in which they are taken.
        workspaces: the buffers of each thread. They are the caller's, so that large memory is allocated in one place.
            With one, `work` is called in this thread, whose operations PyTorch may share out.

    Raises:
        What `work` raises.

    Example:
        >>> lists = [[], []]
        >>> share_out(lambda numbers, into: into.extend(numbers), range(5), lists)
        >>> sorted(lists[0] + lists[1])
        [0, 1, 2, 3, 4]
    """
    remaining = iter(list(pieces))  # of a list, whose `next` is atomic
    if len(workspaces) == 1:
        work(remaining, workspaces[0])
        return
    pool = _pool(len(workspaces), os.getpid())
    spaces = workspaces[:1] if _CROWD.is_here() else workspaces
    calls = [pool.submit(_timed, work, remaining, space) for space in spaces]
    wait(calls)  # also where one has failed: what the others write to must not be freed
    seconds = [call.result() for call in calls]
    if len(calls) > 1:
        _CROWD.learn(*map(sum, zip(*seconds, strict=True)))


def in_one_thread(device: torch.device, function: Callable[..., Result], *args: object) -> Result:
    """The result of a function of many small operations; on a CPU from a thread where PyTorch does not share them out.

    Example:
        >>> in_one_thread(torch.device("cpu"), torch.get_num_threads)
        1
    """
    if device.type == "cpu" and torch.get_num_threads() > 1:
        return _pool(1, os.getpid()).submit(function, *args).result()
    return function(*args)


@torch.compiler.disable  # type: ignore[untyped-decorator]
def differentiable_in_one_thread(function: Callable[[Tensor], Tensor], tensor: Tensor) -> Tensor:
    """`in_one_thread` for a function of one tensor that can be differentiated, once."""
    value: Tensor = _InOneThread.apply(function, tensor)
    return value


class _InOneThread(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, function: Callable[[Tensor], Tensor], tensor: Tensor) -> Tensor:
        recording = ctx.needs_input_grad[1]

        def call() -> tuple[Tensor, Tensor]:
            with torch.set_grad_enabled(recording):
                source = tensor.detach().requires_grad_(recording)
                return source, function(source)

        source, value = in_one_thread(tensor.device, call)
        if recording:
            ctx.graph = source, value
        return value.detach()

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[None, Tensor]:
        source, value = ctx.graph

        def differentiate() -> Tensor:
            of_source: Tensor = torch.autograd.grad(value, source, grad, retain_graph=True)[0]
            return of_source

        return None, in_one_thread(grad.device, differentiate)


def _timed(
    work: Callable[[Iterator[Piece], Space], None], pieces: Iterator[Piece], space: Space
) -> tuple[float, float]:
    """Do the work and return how many seconds it ran on a core, and how many it took.

    Gradient modes belong to a thread. Inference mode can write into the tensors of either mode.
    """
    busy, start = thread_time(), perf_counter()
    with torch.inference_mode():
        work(pieces, space)
    return thread_time() - busy, perf_counter() - start


class Crowd:
    """Whether others want the cores too. Then one thread alone is faster than several that wait for each other.

    Python lets one thread at a time start an operation; if that thread is pushed aside just then, all wait. It shows
    where threads spend half of their time waiting. Then one works alone, for a while that doubles each time.
    """

    def __init__(self) -> None:
        self.until, self.pause = 0.0, _FIRST_PAUSE

    def is_here(self) -> bool:
        """Whether one thread should work alone now."""
        return perf_counter() < self.until

    def learn(self, ran: float, took: float) -> None:
        """Take in how many seconds threads ran on a core, of how many they took."""
        if ran > took / 2 or took < _TOO_SHORT:
            self.pause = _FIRST_PAUSE
        else:
            self.until = perf_counter() + self.pause
            self.pause = min(2 * self.pause, _LONGEST_PAUSE)


_FIRST_PAUSE, _LONGEST_PAUSE, _TOO_SHORT = 1.0, 60.0, 1e-3  # seconds
_CROWD = Crowd()


def _be_single() -> None:
    torch.set_num_threads(1)
    torch.get_num_threads()  # the first question in a thread sets its number to the default, which is 1 just now


@cache
def _pool(workers: int, process: int) -> ThreadPoolExecutor:
    """Threads that live as long as this process; a forked one, which gets no threads, makes its own."""
    del process
    threads, all_here = torch.get_num_threads(), Barrier(workers)
    pool = ThreadPoolExecutor(workers, "fakd", initializer=_be_single)
    list(pool.map(lambda _: all_here.wait(), range(workers)))  # or an idle thread would do another's part
    torch.set_num_threads(threads)  # theirs is their own, but the default of threads that are still to come is not
    return pool
