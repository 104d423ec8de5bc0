"""`fakd serve`: a page on this machine to try a trained network on."""

import os
import signal
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import KW_ONLY, dataclass
from pathlib import Path
from types import FrameType

from fakd.console import install_command, say
from fakd.data import meant_dataset
from fakd.data.class_names import hidden_classes
from fakd.data.plain_yaml import read_yaml
from fakd.data.reading import MOST_PIXELS
from fakd.options import Hidden, check_least
from fakd.serve.pair import PairConfig, open_pair
from fakd.serve.samples import Sample, samples_from_dataset, samples_from_folder


@dataclass
class ServeConfig(PairConfig):
    """Open a page on this machine to try a trained network, and its teacher beside it."""

    _: KW_ONLY
    images: Path | None = None
    """Folder of images to pick from; by default some of the validation images of the network's data set."""
    data_root: Path | None = None
    """Folder of that data set; by default where it was when the network was trained."""
    hide: Hidden = None
    """Classes that are shown without a colour, as road,sky, or none; by default the background, by its name."""
    samples: int = 9
    """Images to pick from."""
    max_megabytes: float = 20
    """Size of a file that may be uploaded."""
    max_megapixels: float = 25
    """Pixels of an image that may be uploaded, in millions."""
    host: str = "127.0.0.1"
    """Address to listen at; with another than 127.0.0.1, such as 0.0.0.0, others can open the page: it asks for no
    password."""
    port: int | None = None
    """Port to listen at; by default the first free one from 7860 on."""
    open_browser: bool = False
    """Whether to open the page in a browser too."""


def serve(config: ServeConfig) -> None:
    """Serve the page until it is stopped.

    Raises:
        ModuleNotFoundError: gradio is not installed.
        ValueError: a number is out of range, or the networks do not go together.
        OSError: a file is not there, or the port is taken.
        DataError: there is no image in the folder to pick from.
        SystemExit: the process was told to end; what had been sent to the page is deleted.
    """
    for number in (signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(number) is not signal.SIG_IGN:  # as nohup leaves it
            signal.signal(number, _end)
    with served(config) as url:
        say(f"{url}\nStop it with Ctrl-C.")
        while True:
            time.sleep(3600)


def _end(number: int, _frame: FrameType | None) -> None:
    raise SystemExit(128 + number)


@contextmanager
def served(config: ServeConfig) -> Iterator[str]:
    """Serve the page in the background, and give its address.

    Example:
        >>> with served(ServeConfig("runs/student")) as url:  # doctest: +SKIP
        ...     webbrowser.open(url)
    """
    _check_numbers(config)
    with tempfile.TemporaryDirectory(prefix="fakd-serve-") as folder:
        _require_gradio(folder)
        from fakd.serve.page import STYLE, THEME, Page

        student, teacher = open_pair(config)
        hide = hidden_classes(config.hide, student.classes)
        samples = _find_samples(config, student.notes)
        blocks = Page(student, teacher, samples, int(config.max_megapixels * 1e6), hide).build()
        blocks.queue(max_size=20)
        try:
            _, url, _ = blocks.launch(
                server_name=config.host,
                server_port=config.port,
                inbrowser=config.open_browser,
                max_file_size=int(config.max_megabytes * 1e6),
                theme=THEME,
                css=STYLE,
                share=False,
                ssr_mode=False,
                pwa=False,
                footer_links=[],
                state_session_capacity=100,
                quiet=True,
                prevent_thread_lock=True,
            )
            yield url
        finally:
            blocks.close(verbose=False)


def _check_numbers(config: ServeConfig) -> None:
    most = MOST_PIXELS / 1e6
    if not 0 < config.max_megapixels <= most:
        raise ValueError(f"max_megapixels must be above 0 and at most {most:.0f}, got {config.max_megapixels}.")
    if config.max_megabytes <= 0:
        raise ValueError(f"max_megabytes must be above 0, got {config.max_megabytes}.")
    check_least(config, samples=0)
    if config.port is not None and not 1 <= config.port <= 65535:
        raise ValueError(f"port must be from 1 to 65535, got {config.port}.")


def _require_gradio(folder: str) -> None:
    """Import gradio, which `pip install fakd` leaves out; it keeps its files in `folder`, and tells nobody.

    Raises:
        ModuleNotFoundError: it is not installed; the message says how to.
    """
    os.environ |= {"GRADIO_ANALYTICS_ENABLED": "False", "GRADIO_RUN_HISTORY": "False", "GRADIO_TEMP_DIR": folder}
    os.environ |= {"HF_HUB_DISABLE_TELEMETRY": "1"}
    try:
        import gradio  # noqa: F401
    except ImportError as error:
        raise ModuleNotFoundError(
            f"the page needs a package that is missing ({error}): {install_command('serve')}"
        ) from None


def _find_samples(config: ServeConfig, notes: Mapping[str, str]) -> list[Sample]:
    if config.samples == 0:
        return []
    if config.images is not None:
        return samples_from_folder(config.images, config.samples)
    run = Path(config.model) / "config.yaml"
    root = config.data_root or (read_yaml(run).get("data_root") if run.is_file() else None)
    try:
        dataset = meant_dataset(None, config.data_root, notes.get("dataset"))
        return samples_from_dataset(dataset or notes["dataset"], root and Path(root), config.samples)
    except (KeyError, ValueError, OSError) as error:
        if config.data_root is not None:
            raise
        say(f"no images to pick from: {error} Name a folder of images by --images, or the data set by --data-root.")
        return []
