"""Work of many short operations on a CPU, where other processes may want the same cores.

PyTorch's threads share out every operation, and meet again at its end. Where operations last less than a millisecond
and others want the cores, they mostly wait for the one of them that was pushed aside; one thread alone is then faster.
"""

import os
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import cache
from time import perf_counter, thread_time
from typing import Any, TypeVar

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

Result = TypeVar("Result")

WORTH_IT = 2**14
"""Numbers from which on PyTorch's threads gain more than they cost."""


_exact = False


@contextmanager
def exactly() -> Iterator[None]:
    """Let nothing else that the machine does change a bit: PyTorch shares out operations in any case.

    With one thread vectors of numbers end elsewhere than with two, and so does rounding. A run that is resumed must end
    with the same bits.
    """
    global _exact
    before, _exact = _exact, True
    try:
        yield
    finally:
        _exact = before


def shared_out(tensor: Tensor, work: Callable[[], Result]) -> Result:
    """The result of `work`, whose operations PyTorch shares out; on a crowded CPU one thread does it all.

    Args:
        tensor: of the size and on the device that the work is about.
        work: many operations, none of which records a gradient.

    Example:
        >>> shared_out(torch.zeros(2), lambda: 1 + 1)
        2
    """
    if tensor.device.type != "cpu" or tensor.numel() <= WORTH_IT or torch.get_num_threads() == 1:
        return work()
    if _CROWD.is_here():
        alone: Result = _pool(os.getpid()).submit(_recording_nothing, work).result()
        return alone
    busy, start = thread_time(), perf_counter()
    result = work()
    _CROWD.learn(thread_time() - busy, perf_counter() - start)
    return result


def in_one_thread(device: torch.device, function: Callable[..., Result], *args: object) -> Result:
    """The result of a function of many small operations; on a crowded CPU from a thread that shares none of them out.

    Example:
        >>> in_one_thread(torch.device("cpu"), lambda number: number + 1, 1)
        2
    """
    if device.type == "cpu" and torch.get_num_threads() > 1 and _CROWD.is_here():
        return _pool(os.getpid()).submit(function, *args).result()
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


def _recording_nothing(work: Callable[[], Result]) -> Result:
    """Gradient modes belong to a thread. Inference mode can write into the tensors of either mode."""
    with torch.inference_mode():
        return work()


class Crowd:
    """Whether others want the cores too: it shows where a thread that works is kept waiting, call after call.

    Then one works alone, for a while that doubles each time.
    """

    def __init__(self) -> None:
        self.until, self.pause, self.lost = 0.0, _FIRST_PAUSE, 0.0

    def is_here(self) -> bool:
        """Whether one thread should work alone now."""
        return not _exact and perf_counter() < self.until

    def learn(self, ran: float, took: float) -> None:
        """Take in how many seconds a thread ran on a core, of how many its work took."""
        if ran > took * _RUNNING:
            self.pause, self.lost = _FIRST_PAUSE, 0.0
            return
        self.lost += took - ran
        if self.lost > _TOO_MUCH:
            self.until, self.lost = perf_counter() + self.pause, 0.0
            self.pause = min(2 * self.pause, _LONGEST_PAUSE)


_FIRST_PAUSE, _LONGEST_PAUSE, _TOO_MUCH = 1.0, 60.0, 0.1  # seconds
_RUNNING = 2 / 3  # below which share of its time a thread is kept waiting
_CROWD = Crowd()


def _be_single() -> None:
    torch.set_num_threads(1)
    torch.get_num_threads()  # the first question in a thread sets its number to the default, which is 1 just now


@cache
def _pool(process: int) -> ThreadPoolExecutor:
    """A thread that lives as long as this process; a forked one, which gets no threads, makes its own."""
    del process
    threads = torch.get_num_threads()
    pool = ThreadPoolExecutor(1, "fakd", initializer=_be_single)
    pool.submit(lambda: None).result()
    torch.set_num_threads(threads)  # the thread keeps its own number, but it changed the default of those to come
    return pool
