"""How a run begins: not at all where it is finished, and never beside another process that writes to its folder."""

import json
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

from fakd.console import is_main_process, say
from fakd.files.only_writer import only_writer
from fakd.training.config import RunConfig
from fakd.training.resuming import check_folder
from fakd.training.run_folder import RunFolder


@contextmanager
def begun(config: RunConfig) -> Iterator[dict[str, Any] | None]:
    """The results of the run that is to be resumed, if nothing is left to do; else nobody else writes meanwhile.

    Raises:
        BusyError: another process does.
    """
    folder = RunFolder(config.output)
    if is_main_process():
        check_folder(config, folder)  # before data and networks are opened, so that a mistake shows at once
    finished = _results(config, folder)
    if finished or not is_main_process():
        yield finished
        return
    made = [path for path in (folder.root, *folder.root.parents) if not path.exists()]
    folder.root.mkdir(parents=True, exist_ok=True)
    try:
        with only_writer(folder.lock, str(folder.root)):
            if config.resume and not folder.results.is_file() and not folder.found_checkpoints():
                say(f"nothing to resume in {folder.root}: starting anew")
            yield _results(config, folder)  # another process may have finished it while this one looked
    finally:
        with suppress(OSError):  # where nothing came of it, nothing is left
            for path in made:
                path.rmdir()


def _results(config: RunConfig, folder: RunFolder) -> dict[str, Any] | None:
    """What came of a run that is to be resumed, and is finished."""
    if not config.resume or not folder.results.is_file():
        return None
    say(f"finished already: {folder.results}")
    try:
        results: dict[str, Any] = json.loads(folder.results.read_text())
    except ValueError as error:
        raise ValueError(f"{folder.results} is damaged ({error}): delete it, and --resume writes it anew.") from None
    return results
