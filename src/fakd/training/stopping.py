"""Asking a run to stop, all its processes at the same step: Ctrl-C, or what a scheduler sends before it ends a job."""

import os
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from types import FrameType
from typing import Any

import torch
import torch.distributed as dist

from fakd.console import say
from fakd.machine import processes

_TWICE = 1.0
"""Seconds after which Ctrl-C counts as pressed again: torchrun passes on at once what the terminal has sent already."""
_TO_GO_ON = "go on with the same command and --resume"


class Interrupted(Exception):
    """The run was asked to stop, and did; the message says where it stands."""

    @classmethod
    def at(cls, step: int, steps: int) -> "Interrupted":
        """Stopped after a step whose checkpoint is written."""
        return cls(f"stopped at step {step} of {steps}; {_TO_GO_ON}")


class StopRequest:
    """Whether the run was asked to stop after its step: by Ctrl-C, SIGTERM, Slurm's usual warning, SIGUSR1, or the end
    of its terminal.

    Ctrl-C pressed again stops at once. A scheduler that sends twice is not in a greater hurry: it has SIGKILL.
    """

    def __init__(self) -> None:
        self.asked = False
        self._since = 0.0
        self._owner = 0
        self._numbers: list[signal.Signals] = []

    def obey(self) -> None:
        """Stop here if asked to: between two images of an evaluation, where there is no step to be finished.

        Raises:
            Interrupted: the run was asked to stop.
        """
        if self.asked:
            raise Interrupted(f"stopped; {_TO_GO_ON}, from the last checkpoint")

    @contextmanager
    def heard(self) -> Iterator[None]:
        """Take over the signals, around all that has loader processes; what takes long must `obey` now and then.

        Loaders that are forked meanwhile leave the signals to this process. And a signal raises nothing while a loader
        is shut down, where Python would print the exception and go on.

        Raises:
            Interrupted: the run was asked to stop and could not finish its step.
        """
        if threading.current_thread() is not threading.main_thread():  # Python allows it nowhere else
            yield
            return
        self._owner, self._numbers = os.getpid(), _stops()
        previous = {number: signal.signal(number, self._hear) for number in self._numbers}
        try:
            yield
        except (RuntimeError, ConnectionError, EOFError) as error:
            # A scheduler signals every process of a job, and PyTorch's loaders end by SIGTERM, perhaps within a word.
            if not self.asked or (isinstance(error, RuntimeError) and "DataLoader worker" not in str(error)):
                raise
            raise Interrupted(
                f"stopped while waiting for images, whose loaders were ended too; {_TO_GO_ON}, from the last checkpoint"
            ) from error
        finally:
            for number, handler in previous.items():
                if handler is not None:  # None is one that Python did not set, and cannot
                    signal.signal(number, handler)

    def _hear(self, number: int, frame: FrameType | None) -> None:
        if os.getpid() != self._owner:
            return
        by_hand, now = number == signal.SIGINT, time.monotonic()
        if self.asked:
            if by_hand and now - self._since > _TWICE:
                raise Interrupted(f"stopped at once; {_TO_GO_ON}, from the last checkpoint")
            return
        self.asked, self._since = True, now
        if hasattr(signal, "SIGCHLD"):
            # PyTorch's, which raises in the middle of the step where a loader was ended too. The step has its images.
            # Not SIG_DFL, of which Python complains where one is on its way.
            signal.signal(signal.SIGCHLD, lambda *_: None)
        why = "press Ctrl-C again to stop at once" if by_hand else signal.Signals(number).name
        # In a thread, as this one may be in the middle of printing.
        threading.Thread(target=say, args=(f"stopping after this step; {why}", "yellow")).start()


def _stops() -> list[signal.Signals]:
    """The signals that ask to stop, where nobody has ordered to ignore them; Ctrl-C is obeyed in the background too."""
    wanted = [signal.SIGINT]
    for name in ("SIGTERM", "SIGUSR1", "SIGHUP"):
        with suppress(AttributeError):  # Windows has not all
            number = getattr(signal, name)
            if signal.getsignal(number) != signal.SIG_IGN:
                wanted.append(number)
    return wanted


class Vote:
    """Whether any process of the run wants something, known to all of them at the same step.

    Their hosts meet for it, not their devices, which would make the host wait for all that was asked of the device.
    """

    def __init__(self) -> None:
        self._hosts: Any = None  # the group, made at the first vote

    def any(self, wish: bool) -> bool:
        """Whether `wish` is true in any process; must be called in all of them."""
        if processes() == 1:
            return wish
        if self._hosts is None:
            self._hosts = dist.new_group(backend="gloo")
        wishes = torch.tensor([int(wish)])
        dist.all_reduce(wishes, op=dist.ReduceOp.MAX, group=self._hosts)
        return bool(wishes.item())
