"""Label maps of other formats as PNG of class indices, by several processes."""

import os
import signal
import sys
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from functools import partial
from multiprocessing import get_context
from pathlib import Path

import numpy as np
from PIL import Image

from fakd.console import progress, say
from fakd.data.paired_files import LabelTable, ReadMask, looked_up
from fakd.data.reading import LabelMap
from fakd.data.spec import DataError
from fakd.files.atomic import written_at_once

_BATCH = 16  # files a process is given at a time
_SHOWN = 10


def convert(what: str, jobs: Sequence[tuple[Path, Path]], read: ReadMask, workers: int | None = None) -> None:
    """Write each file's class indices as a greyscale PNG; those that are there are not written again.

    Args:
        what: Heading of the progress bar.
        jobs: (file to read, PNG to write).
        read: Gives a file's class indices, 255 = ignore; a function of a module, so that other processes find it.
        workers: Number of processes; None takes one for each core. With one, or few files, this process converts.

    Raises:
        DataError: Some files could not be converted, and the message names them; all others were.
    """
    missing = [(source, target) for source, target in jobs if not target.is_file()]
    if not missing:
        return
    say(f"converting {len(missing):,} label maps: {what}")
    failed: list[str] = []
    with _mapped(partial(_convert_one, read), missing, workers) as outcomes, progress("label maps") as bar:
        task = bar.add_task(what, total=len(missing), note="")
        for failure in outcomes:
            bar.advance(task)
            failed += [failure] if failure else []
    if failed:
        more = [f"and {len(failed) - _SHOWN} more"] if len(failed) > _SHOWN else []
        raise DataError(
            f"{what}: {len(failed)} of {len(missing)} label maps could not be converted, all others were. Delete the "
            "damaged files and run the same command again to extract them anew:"
            + "".join(f"\n  {line}" for line in failed[:_SHOWN] + more)
        )


def translate(raw: LabelMap, table: LabelTable) -> LabelMap:
    """Look up what to write for every raw label.

    Raises:
        DataError: A label is not in the table.
    """
    labels, unknown = looked_up(raw, table)
    if unknown.size:
        raise DataError(f"holds label {unknown[0]}, which the data set does not have. Get the file again.")
    return labels


def write_indices(path: Path, indices: LabelMap) -> None:
    """Write (H, W) class indices as the grey values of a PNG.

    Raises:
        DataError: They are not all in 0..255.
    """
    if indices.min() < 0 or indices.max() > 255:
        raise DataError(f"labels from {indices.min()} to {indices.max()}, expected all in 0-255.")
    with written_at_once(path) as temporary:
        # Grey, not a palette: some programs read the colours of a palette PNG instead of its indices.
        Image.fromarray(indices.astype(np.uint8)).save(temporary, format="PNG")


def _convert_one(read: ReadMask, job: tuple[Path, Path]) -> str | None:
    """Convert one file; what is wrong with it comes back as text, since not every error survives the way."""
    source, target = job
    try:
        write_indices(target, read(source))
    except DataError as error:
        message = str(error)
        return message if str(source) in message else f"{source}: {message}"
    return None


@contextmanager
def _mapped(
    function: Callable[[tuple[Path, Path]], str | None], jobs: Sequence[tuple[Path, Path]], workers: int | None
) -> Iterator[Iterator[str | None]]:
    """Map over several processes, which stop soon after the block is left, however it is left."""
    count = min(os.cpu_count() or 1 if workers is None else workers, -(-len(jobs) // _BATCH))
    if count <= 1:
        yield map(function, jobs)
        return
    # Forked where that is usual, as loaders are: a spawned process would need seconds to import torch again.
    # `map` starts all processes at once, before the progress bar's thread, whose locks a fork would copy.
    context = get_context("fork" if sys.platform == "linux" else "spawn")
    # Ctrl-C is left to the main process: it stops the others between two batches.
    ignore_interrupt = partial(signal.signal, signal.SIGINT, signal.SIG_IGN)
    pool = ProcessPoolExecutor(count, mp_context=context, initializer=ignore_interrupt)
    try:
        yield pool.map(function, jobs, chunksize=_BATCH)
    finally:
        pool.shutdown(wait=True, cancel_futures=True)
