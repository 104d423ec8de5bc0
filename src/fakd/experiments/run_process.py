"""A run in a process of its own: its log, how it is stopped, and why it failed."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path

from fakd.files.only_writer import BusyError

PROGRAM = (sys.executable, "-m", "fakd")
"""What runs a command, with the same libraries as this process."""
BUSY = "another process is at work on this run"
"""What `RunProcess.wait` gives where the run is being done already."""
_PAUSE = 0.1
_NOT_THE_RUNS = ("FAKD_TRACEBACK", "SLURM_PROCID", "SLURM_STEP_NUM_TASKS")
"""What hides the line that says why a run failed, and what tells this process from others that srun started."""


class RunProcess:
    """`fakd train` or `fakd distill`, started.

    Args:
        words: the command and its options.
        log: file to whose end goes what it prints.
        environment: variables that it has beside those of this process.
    """

    def __init__(self, words: Sequence[str], log: Path, environment: Mapping[str, str]) -> None:
        self._log = log
        log.parent.mkdir(parents=True, exist_ok=True)
        own = {name: value for name, value in os.environ.items() if name not in _NOT_THE_RUNS}
        with log.open("ab") as file:
            self._start = file.tell()
            self._process = subprocess.Popen(
                [*PROGRAM, *words],
                stdin=subprocess.DEVNULL,
                stdout=file,
                stderr=subprocess.STDOUT,
                env={**own, **environment},
                # A terminal sends Ctrl-C to every process of the session; this one is told by `stop`, once.
                start_new_session=True,
            )

    def wait(self) -> str | None:
        """Why it failed, once it has ended: its last error, or how it ended; `BUSY`; None where it did not."""
        while (status := self._process.poll()) is None:
            time.sleep(_PAUSE)
        if status in (0, BusyError.exit_status):
            return BUSY if status else None
        if status < 0:
            memory = "; the system may have run out of memory" if status == -signal.SIGKILL else ""
            return f"ended by {signal.Signals(-status).name}{memory}"
        if status == 130:
            return "interrupted from outside"
        lines = printed(self._log, self._start)
        errors = [line.partition("error: ")[2] for line in lines if line.startswith("error: ")]
        said = errors or lines or [f"ended with status {status} and no word"]
        return said[-1]

    def stop(self, at_once: bool = False) -> None:
        """Ask it to finish its step and write a checkpoint; or end it with all its own processes."""
        if at_once and sys.platform != "win32":
            with suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)
        else:  # its loaders must not hear this
            self._process.terminate()


def printed(log: Path, start: int = 0, at_most: int = 1_000_000) -> list[str]:
    """The last lines of a log, but for empty ones; none where there is no log yet."""
    if not log.is_file():
        return []
    with log.open("rb") as file:
        file.seek(max(start, file.seek(0, os.SEEK_END) - at_most))
        text = file.read().decode("utf-8", "replace")
    return [line.strip() for line in text.splitlines() if line.strip()]


def carry_out(words: Sequence[str], log: str, folder: str) -> str | None:
    """Do a run from this folder, on whatever machine this is; an interruption is passed on to it.

    Returns:
        What `RunProcess.wait` gives.

    Raises:
        OSError: this machine has no such folder.
    """
    os.chdir(folder)
    process = RunProcess(words, Path(log), {})
    while True:
        try:
            return process.wait()
        except KeyboardInterrupt:
            process.stop()
