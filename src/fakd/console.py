"""The words that people read: one console, silence from the libraries below, and advice where memory is short."""

import json
import logging
import os
import warnings
from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, distribution
from typing import Any
from urllib.parse import unquote, urlsplit

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TextColumn, TimeRemainingColumn

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


def progress(unit: str) -> Progress:
    """A bar with count and time left, that disappears when done and stays silent where nobody watches.

    Args:
        unit: what is counted, as "images".
    """
    return Progress(
        SpinnerColumn(),
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn(unit),
        TimeRemainingColumn(),
        TextColumn("left  {task.fields[note]}"),
        console=console,
        transient=True,
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


def memory_advice(error: Exception, options: Mapping[str, Any]) -> str | None:
    """Say that memory ran out, and which of a command's options need less; None where the error is another.

    Args:
        error: that ended the command.
        options: of the command, by name.
    """
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
