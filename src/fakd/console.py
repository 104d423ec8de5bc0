"""The words that people read: one console, silence from the libraries below, and advice where memory is short."""

import json
import logging
import os
import shutil
import warnings
from collections.abc import Iterable, Mapping
from datetime import timedelta
from difflib import get_close_matches
from importlib.metadata import PackageNotFoundError, distribution
from typing import Any
from urllib.parse import unquote, urlsplit

from rich.console import Console
from rich.filesize import decimal
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    SpinnerColumn,
    TaskID,
    TextColumn,
    TimeRemainingColumn,
)

console = Console(highlight=False, soft_wrap=True)


def quiet_libraries() -> None:
    """Keep tips, banners and deprecation warnings of the libraries off the terminal.

    Only the commands call this: someone who imports fakd keeps every warning.
    """
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    warnings.filterwarnings("ignore")
    logging.disable(logging.WARNING)


def is_main_process() -> bool:
    """Whether this process is the one that speaks: rank 0, or the only one."""
    # Before Slurm's number, which what a task starts by itself inherits.
    if "RANK" not in os.environ and "LOCAL_RANK" in os.environ:
        return int(os.environ["LOCAL_RANK"]) == int(os.environ.get("NODE_RANK", "0")) == 0
    return int(os.environ.get("RANK", os.environ.get("SLURM_PROCID", os.environ.get("NODE_RANK", "0")))) == 0


def printable(text: str) -> str:
    """Spell out the bytes of a file's name that are no UTF-8, which no terminal and no text file takes.

    Example:
        >>> print(printable(os.fsdecode(b"caf\\xe9.jpg")))
        caf\\xe9.jpg
    """
    return text.encode(errors="surrogateescape").decode(errors="backslashreplace")


def say(message: str, style: str | None = None) -> None:
    """Print one message as it is, on rank 0 alone; `style` is rich's, as "bold"."""
    if is_main_process():
        console.print(printable(message), style=style, markup=False)


def say_error(message: str) -> None:
    """Print what went wrong to standard error, on any rank; what a terminal would obey is spelt out."""
    errors = Console(stderr=True, highlight=False, soft_wrap=True)
    errors.print("error:", style="bold red", end=" ")
    # as it may stand in the names of files
    errors.print(
        "".join(c if c.isprintable() or c == "\n" else repr(c)[1:-1] for c in printable(message)), markup=False
    )


def did_you_mean(word: str, names: Iterable[str]) -> str:
    """The name that somebody may have meant, as a sentence to add to a message; nothing where none is close.

    Example:
        >>> did_you_mean("cdw", ["cwd", "fakd"]), did_you_mean("bf16", ["32-true", "bf16-mixed"])
        (' Did you mean cwd?', ' Did you mean bf16-mixed?')
        >>> did_you_mean("unet", ["cwd", "fakd"])
        ''
    """
    known = {name.lower(): name for name in names}
    longer = [name for name in known if len(word) > 2 and name.startswith(word.lower())]
    close = longer or get_close_matches(word.lower(), known, n=1)
    return f" Did you mean {known[close[0]]}?" if close else ""


class _Watched(Progress):
    """A progress that tells files and pipes how far it is, which show no bar."""

    _said = 0.0
    _every = 60.0  # seconds

    def add_task(self, *args: Any, **options: Any) -> TaskID:
        task_id = super().add_task(*args, **options)
        super().advance(task_id, 0)  # the time left is reckoned from the start, not from the first that is done
        return task_id

    def update(self, task_id: TaskID, **changes: Any) -> None:
        super().update(task_id, **changes)
        self._tell(task_id)

    def advance(self, task_id: TaskID, advance: float = 1) -> None:
        super().advance(task_id, advance)
        self._tell(task_id)

    def _tell(self, task_id: TaskID) -> None:
        task = next(task for task in self.tasks if task.id == task_id)
        now, begun = self.get_time(), max(self._said, task.start_time or 0.0)
        if console.is_terminal or not is_main_process() or now - begun < self._every:
            return
        self._said = now
        (unit,) = (column.text_format for column in self.columns[4:5] if isinstance(column, TextColumn))
        left = "" if task.time_remaining is None else f"  {timedelta(seconds=round(task.time_remaining))} left"
        note = f"  {task.fields['note']}" if task.fields["note"] else ""
        total = "" if task.total is None else f"/{task.total:.0f}"
        say(f"{task.description}  {task.completed:.0f}{total} {unit}{note}{left}")


def progress(unit: str) -> Progress:
    """A bar with count and time left, that disappears when done; in files and pipes a line a minute.

    Args:
        unit: what is counted, as "images".
    """
    return _Watched(
        SpinnerColumn(),
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn(unit),
        TimeRemainingColumn(),
        TextColumn("left  {task.fields[note]}"),
        console=console,
        transient=True,
        speed_estimate_period=86400,  # seconds: a run of many takes long; of quick steps the last 1000 count
        disable=not console.is_terminal or not is_main_process(),
    )


def install_command(extra: str) -> str:
    """The command that installs one of this package's extras, from where the package itself was installed.

    Args:
        extra: its name, as "video".

    Returns:
        As `pip install 'fakd[video]'`, or with the folder of a clone, or the address, that it came from.
    """
    try:
        origin = json.loads(distribution("fakd").read_text("direct_url.json") or "{}")
    except (PackageNotFoundError, ValueError):
        origin = {}
    url = origin.get("url", "")
    if origin.get("dir_info", {}).get("editable"):
        return f"pip install -e '{unquote(urlsplit(url).path)}[{extra}]'"
    if "vcs_info" in origin:
        url = f"{origin['vcs_info']['vcs']}+{url}"
    return f"pip install 'fakd[{extra}]{f' @ {url}' if url else ''}'"


_SHORT = ("can't allocate memory", "not enough memory", "out of memory")
"""What PyTorch says on a CPU, on Windows in other words, and on devices."""


_SHARED = ("shared memory", "</torch_")
"""What PyTorch says where processes cannot hand over images: before they are written there, or as a process is gone."""


def memory_advice(error: Exception, options: Mapping[str, Any]) -> str | None:
    """Say which memory ran out, and which of a command's options need less; None where the error is another.

    Args:
        error: that ended the command.
        options: of the command, by name.
    """
    if isinstance(error, RuntimeError) and any(words in str(error) for words in _SHARED):
        return _shared_memory_advice(options)
    if isinstance(error, RuntimeError) and "DataLoader worker (pid" in str(error):
        return "a process that reads images was ended, as where memory is full: try again with --workers 0."
    if not isinstance(error, MemoryError) and not (
        isinstance(error, RuntimeError) and any(words in str(error) for words in _SHORT)
    ):
        return None
    ways = [f"--{name.replace('_', '-')}" for name in ("batch_size", "crop_size") if name in options]
    if not ways and "base_size" in options:
        ways = ["--base-size"]
    advice = [f"lower {' or '.join(ways)}"] if ways else []
    if options.get("precision") == "32-true":
        advice.append("use --precision bf16-mixed")
    return f"not enough memory: {', or '.join(advice) or 'end other programs that use it'}."


def _shared_memory_advice(options: Mapping[str, Any]) -> str:
    try:
        size = f", of which this machine has {decimal(shutil.disk_usage('/dev/shm').total)}"
    except OSError:  # as on other systems
        size = ""
    without = "; or --workers 0, which needs none" if options.get("workers") else ""
    return (
        f"not enough shared memory, in which processes hand over images{size}: in a container give docker run "
        f"--shm-size 8g{without}."
    )
