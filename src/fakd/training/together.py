"""The processes of one run: they meet, agree when to stop, and end together."""

import os
import platform
import secrets
import socket
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from multiprocessing import AuthenticationError
from multiprocessing.connection import Client, Connection, Listener, wait
from threading import Thread
from typing import Any, NoReturn

import torch
import torch.distributed as dist
from lightning.pytorch import Trainer

from fakd.console import say, say_error
from fakd.training.stopping import Interrupted

_DONE = "done"
"""What a process says that ends because its work is done."""
_STOPPED = "stopped"
"""What a process says that a user has stopped."""
_PATIENCE = 5.0
"""Seconds for what follows from the end of another process to be seen here."""
_SILENCE = {"TCP_KEEPIDLE": 15, "TCP_KEEPINTVL": 5, "TCP_KEEPCNT": 6}
"""A machine that is silent for 15 + 5 * 6 seconds is taken for dead."""


@contextmanager
def together(trainer: Trainer) -> Iterator[None]:
    """Start the other processes of a run where nobody has, and meet them; where one of them ends early, all do.

    A run that is asked to stop says where it stands, and goes on behind the block.

    Args:
        trainer: of the run, which may have one process alone.
    """
    strategy = trainer.strategy
    peers = None
    try:
        if strategy.launcher is not None:
            strategy.launcher.launch(strategy.setup_environment, trainer=trainer)
            peers = _Peers(trainer)
        yield
    except BaseException as error:
        if peers is not None:
            peers.leave(error)
        if not isinstance(error, Interrupted):
            raise
        say(str(error))
    else:
        if peers is not None:
            peers.leave(None)


class Vote:
    """Whether any process of the run wants something, known to all of them at the same step.

    Their hosts meet for it, not their devices, which would make the host wait for all that was asked of the device.
    """

    def __init__(self) -> None:
        self._hosts: Any = None  # the group, made at the first vote

    def any(self, wish: bool) -> bool:
        """Whether `wish` is true in any process; must be called in all of them."""
        if not (dist.is_available() and dist.is_initialized() and dist.get_world_size() > 1):
            return wish
        if self._hosts is None:
            self._hosts = dist.new_group(backend="gloo")
        wishes = torch.tensor([int(wish)])
        dist.all_reduce(wishes, op=dist.ReduceOp.MAX, group=self._hosts)
        return bool(wishes.item())


class _Peers:
    """Links to the other processes, over which each hears at once how another ends.

    A process that is killed says nothing, but the system closes its link (once its loader processes, which share it,
    have noticed: that takes them 5 seconds). Without this the others would wait for it in their next exchange, for half
    an hour or until a launcher ends them. All are linked to the first. A thread listens, and ends the process by
    itself, as the main one may be waiting where no exception reaches it.
    """

    def __init__(self, trainer: Trainer) -> None:
        self._rank = trainer.global_rank
        self._name = f"rank {self._rank} of {trainer.world_size} ({platform.node()}, process {os.getpid()})"
        self._links = self._link_all(trainer) if self._rank == 0 else self._link_to_first(trainer)
        for link in self._links:
            _end_when_silent(link)
        self._left = False
        self._thread = Thread(target=self._listen, daemon=True)
        self._thread.start()

    def leave(self, error: BaseException | None) -> None:
        """Tell the others why this process ends: its work is done, or an error."""
        if isinstance(error, RuntimeError):
            self._thread.join(_PATIENCE)  # it ends the process where another's end was the reason
        self._left = True
        if error is None:
            self._tell(_DONE)
        elif isinstance(error, Interrupted | KeyboardInterrupt | SystemExit):
            self._tell(_STOPPED)
        else:
            self._tell(f"{self._name}: {str(error) or type(error).__name__}")

    def _link_all(self, trainer: Trainer) -> dict[Connection, str]:
        """The other processes by their links, as the first process sees them."""
        key = secrets.token_bytes(32)
        links: dict[Connection, str] = {}
        with Listener(("", 0), "AF_INET", backlog=trainer.world_size, authkey=key) as listener:
            trainer.strategy.broadcast((listener.address[1], key, self._name))
            while len(links) < trainer.world_size - 1:
                with suppress(AuthenticationError, EOFError):  # somebody else at the port
                    link = listener.accept()
                    links[link] = link.recv_bytes().decode()
        return links

    def _link_to_first(self, trainer: Trainer) -> dict[Connection, str]:
        port, key, first = trainer.strategy.broadcast((0, b"", ""))
        link = Client((os.environ["MASTER_ADDR"], port), "AF_INET", authkey=key)
        link.send_bytes(self._name.encode())
        return {link: first}

    def _listen(self) -> None:
        waiting = dict(self._links)
        while waiting:
            for link in wait(list(waiting)):
                assert isinstance(link, Connection)
                name = waiting.pop(link)
                try:
                    said = link.recv_bytes().decode()
                except (EOFError, OSError):
                    said = ""
                if said == _STOPPED:
                    time.sleep(_PATIENCE)  # this process was asked to stop too, and is about to
                if said != _DONE and not self._left:
                    self._end(name, said)

    def _end(self, name: str, said: str) -> NoReturn:
        """End this process and those that are linked to it, as another one has ended."""
        why = said or f"{name} ended without a word: it crashed, or was killed"
        self._tell(why)
        if said == _STOPPED:
            say("stopped; go on with the same command and --resume, from the last checkpoint")
        elif self._rank == 0 or not said:
            hint = "" if said else "; go on with the same command and --resume"
            say_error(f"{why}. The other processes of this run end too{hint}.")
        sys.stdout.flush()
        os._exit(130 if said == _STOPPED else 1)

    def _tell(self, words: str) -> None:
        for link in self._links:
            with suppress(OSError):
                link.send_bytes(words.encode())


def _end_when_silent(link: Connection) -> None:
    """Let the system close a link to a machine that has lost its power or its network."""
    if sys.platform == "win32":  # where a link is no file
        return
    with socket.socket(fileno=os.dup(link.fileno())) as same:
        same.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        for option, value in _SILENCE.items():
            if hasattr(socket, option):
                same.setsockopt(socket.IPPROTO_TCP, getattr(socket, option), value)
