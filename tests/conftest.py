"""What many tests start from: tiny runs, and a server on this machine."""

import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from colour_source import ColourSource
from http_server import Server
from PIL import Image
from tiny import NETWORK, SETTINGS, SMALL

from fakd.data import DATASETS
from fakd.data.spec import DatasetSpec, Source
from fakd.training import DistillConfig, TrainConfig, train

torch.set_num_threads(1)  # tensors this small only make threads wait for each other


@pytest.fixture
def few_scenes(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let toy-scenes be 8 training and 8 validation images of 48x72."""
    monkeypatch.setitem(DATASETS, "toy-scenes", SMALL)


@pytest.fixture(scope="session")
def teacher_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a finished run of 40 steps."""
    folder = tmp_path_factory.mktemp("runs") / "teacher"
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(DATASETS, "toy-scenes", SMALL)
        train(
            TrainConfig(
                **{**SETTINGS, "max_steps": 40, "eval_every": 40}, network=NETWORK, output=folder, learning_rate=0.05
            )
        )
    return folder


@pytest.fixture
def train_config(tmp_path: Path, few_scenes: None) -> Callable[..., TrainConfig]:
    """Make the config of a tiny training run into tmp_path/run."""

    def make(**changes: Any) -> TrainConfig:
        return TrainConfig(**{"network": NETWORK, "output": tmp_path / "run", **SETTINGS, **changes})

    return make


@pytest.fixture
def distill_config(tmp_path: Path, few_scenes: None, teacher_run: Path) -> Callable[..., DistillConfig]:
    """Make the config of a tiny distillation into tmp_path/run."""

    def make(**changes: Any) -> DistillConfig:
        own = {"teacher": teacher_run, "student": NETWORK, "output": tmp_path / "run", "allow_bad_teacher": True}
        return DistillConfig(**{**own, **SETTINGS, **changes})

    return make


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    server = Server()
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield server
    server.go_on.set()
    server.shutdown()
    server.server_close()
    thread.join()


@pytest.fixture(autouse=True)
def _same_random_numbers() -> Iterator[None]:
    """Seed every test, and keep its draws from the next one."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        yield


WritePair = Callable[..., tuple[Path, Path]]


def open_colours(root: Path | None, split: str) -> Source:
    return ColourSource(count=7 if split == "train" else 5)


@pytest.fixture
def colour_spec() -> DatasetSpec:
    classes = tuple("abcdef")
    palette = tuple((20 * index, 7, 7) for index in range(6))
    return DatasetSpec("colours", classes, palette, (48, 64), (32, 32), open_colours, needs_root=False)


@pytest.fixture
def write_pair(tmp_path: Path) -> WritePair:
    """Write an image below train/ and its mask below trainannot/, both 12x8 (width x height) unless told."""

    def write(
        image: str = "a.jpg",
        mask: str = "a.png",
        size: tuple[int, int] = (12, 8),
        values: np.ndarray | None = None,
    ) -> tuple[Path, Path]:
        image_path, mask_path = tmp_path / "train" / image, tmp_path / "trainannot" / mask
        image_path.parent.mkdir(exist_ok=True)
        mask_path.parent.mkdir(exist_ok=True)
        rng = np.random.default_rng(0)
        kind = "PNG" if image.lower().endswith("png") else "JPEG"
        pixels = rng.integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)
        Image.fromarray(pixels).save(image_path, format=kind)
        if values is None:
            values = rng.integers(0, 12, (8, 12), dtype=np.uint8)
        Image.fromarray(values).save(mask_path, format="PNG")
        return image_path, mask_path

    return write
