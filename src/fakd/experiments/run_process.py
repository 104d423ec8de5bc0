"""A run in a process of its own: its device, its threads, its log, and how it is stopped."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from types import FrameType
from typing import BinaryIO

import torch

from fakd.training.config import RunConfig, TrainConfig

PROGRAM = (sys.executable, "-m", "fakd")
"""What runs a command, with the same libraries as this process."""


class BusyError(OSError):
    """Another process is at work on the run."""


def device_groups(accelerator: str, devices: int, jobs: int | None) -> list[str | None]:
    """Share out the GPUs of the machine to runs side by side.

    Args:
        accelerator: as in `RunConfig`.
        devices: how many devices one run takes.
        jobs: how many runs at once; None is as many as there are GPUs for, or one where there are none.

    Returns:
        What CUDA_VISIBLE_DEVICES is to be for each of the runs; None where a run takes what there is.

    Raises:
        ValueError: one run takes more GPUs than there are.
    """
    if accelerator not in ("auto", "gpu") or not torch.cuda.is_available():
        return [None] * (jobs or 1)
    chosen = os.environ.get("CUDA_VISIBLE_DEVICES")
    names = [name.strip() for name in chosen.split(",")] if chosen else [*map(str, range(torch.cuda.device_count()))]
    groups = [",".join(names[at : at + devices]) for at in range(0, len(names) - devices + 1, devices)]
    if not groups:
        raise ValueError(f"devices is {devices}, but there are only {len(names)} GPUs.")
    return [groups[place % len(groups)] for place in range(jobs or len(groups))]


class RunProcess:
    """`fakd train` or `fakd distill`, started.

    The options are given as JSON, whatever is printed goes to the end of the log. The log is locked for as long as the
    process lives, also where the one that started it was killed: so no run is ever written by two.

    Args:
        config: the run.
        log: file for what it prints.
        gpus: what CUDA_VISIBLE_DEVICES is to be; None leaves it.
        threads: how many threads to compute with, unless OMP_NUM_THREADS says so.

    Raises:
        BusyError: the process of an earlier start is still at work.
    """

    def __init__(self, config: RunConfig, log: Path, gpus: str | None, threads: int) -> None:
        self._log = log
        log.parent.mkdir(parents=True, exist_ok=True)
        environment = {"OMP_NUM_THREADS": str(threads), **os.environ}
        # One that a person set to see where an error comes from must not hide the line that says what it is.
        environment.pop("FAKD_TRACEBACK", None)
        if gpus is not None:
            environment["CUDA_VISIBLE_DEVICES"] = gpus
        command = "train" if isinstance(config, TrainConfig) else "distill"
        with log.open("ab") as file:
            _lock(file)
            self._start = file.tell()
            self._process = subprocess.Popen(
                [*PROGRAM, command, "--config", json.dumps(config.to_dict())],
                stdin=subprocess.DEVNULL,
                stdout=file,
                stderr=subprocess.STDOUT,
                env=environment,
                # A terminal sends Ctrl-C to every process of the session; this one is told by `interrupt`, once.
                start_new_session=True,
            )

    def poll(self) -> int | None:
        """The exit status; None while it runs."""
        return self._process.poll()

    def interrupt(self) -> None:
        """Ask it to finish its step and write a checkpoint; asked again, it stops at once."""
        if sys.platform != "win32":  # where the console has told it already
            self._send(signal.SIGINT)

    def kill(self) -> None:
        """Stop it without asking."""
        if sys.platform == "win32":
            self._process.kill()
        else:
            self._send(signal.SIGKILL)

    def last_line(self) -> str:
        """The last thing it printed."""
        lines = self._printed(at_most=2000)
        return lines[-1] if lines else ""

    def reason(self) -> str:
        """Why it failed: what it printed last as an error, or how it ended."""
        status = self._process.wait()
        if status < 0:
            memory = "; the system may have run out of memory" if status == -signal.SIGKILL else ""
            return f"ended by {signal.Signals(-status).name}{memory}"
        if status == 130:
            return "interrupted from outside"
        errors = [line.partition("error: ")[2] for line in self._printed() if line.startswith("error: ")]
        return errors[-1] if errors else self.last_line() or f"ended with status {status} and no word"

    def _send(self, number: int) -> None:
        """Signal it with all its own processes, as a terminal would."""
        with suppress(ProcessLookupError):
            os.killpg(self._process.pid, number)

    def _printed(self, at_most: int = 1_000_000) -> list[str]:
        with self._log.open("rb") as file:
            file.seek(max(self._start, file.seek(0, os.SEEK_END) - at_most))
            text = file.read().decode("utf-8", "replace")
        return [line.strip() for line in text.splitlines() if line.strip()]


@contextmanager
def counted_stops() -> Iterator[list[int]]:
    """Collect the signals that ask this process to stop, rather than to stop at any line.

    Yields:
        The signals so far: Ctrl-C, the end of the terminal, or a scheduler's request.
    """
    asked: list[int] = []

    def remember(number: int, frame: FrameType | None) -> None:
        asked.append(number)

    def disregard(number: int, frame: FrameType | None) -> None:
        pass

    names = [getattr(signal, name, None) for name in ("SIGINT", "SIGTERM", "SIGHUP")]
    previous = {}
    try:
        for number in names:
            if number is not None:
                # nohup ignores SIGHUP, and shells Ctrl-C for what runs in the background: so is it here. But not as
                # SIG_IGN, which the runs would inherit, and then not hear what `interrupt` asks of them.
                ignored = signal.getsignal(number) == signal.SIG_IGN
                previous[number] = signal.signal(number, disregard if ignored else remember)
    except ValueError:  # not the main thread: Python allows it nowhere else
        pass
    try:
        yield asked
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)


def threads_each(jobs: int) -> int:
    """How many of the machine's cores each of so many runs may use."""
    return max(1, (os.cpu_count() or 1) // jobs)


def stop_all(processes: Sequence[RunProcess], times: int) -> None:
    """Ask all to stop the first two times, and kill them then."""
    for process in processes:
        if process.poll() is None:
            process.kill() if times > 2 else process.interrupt()


def _lock(file: BinaryIO) -> None:
    """Hold the file until the last process that inherits it has ended."""
    if sys.platform == "win32":
        return
    import fcntl  # there is none on Windows

    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise BusyError("another process is at work on this run; wait for it, or stop it, and start again.") from None
