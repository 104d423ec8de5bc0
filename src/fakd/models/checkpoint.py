"""A trained network as one safetensors file that rebuilds itself."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor
from torch.overrides import TorchFunctionMode

from fakd.models.config import ModelConfig
from fakd.models.foreign import ForeignConfig, ForeignSegmentor
from fakd.models.hub import HUB_FILE
from fakd.models.mismatches import listed, mismatches
from fakd.models.segmentor import Segmentor
from fakd.models.torch_file import read_torch_file
from fakd.writing import written_at_once

CONFIG_KEY = "fakd.model"
"""The metadata entry that holds the `ModelConfig` or `ForeignConfig` as JSON."""

AnySegmentor = Segmentor | ForeignSegmentor
"""What can be saved with its architecture: a network of this project, or one that another library builds."""

RUN_SUFFIX = ".ckpt"
"""What the names of a run's own checkpoints end in."""
NOTES_KEY = "network"
"""The entry of such a checkpoint that holds what `save_model` would write beside the weights."""

RUN_FILE = "student.safetensors"
"""The name under which a finished run keeps its trained network."""


def save_model(model: AnySegmentor, path: str | Path, metadata: Mapping[str, str] | None = None) -> None:
    """Write weights, architecture and the caller's notes; the file at `path` is never seen half-written.

    Args:
        model: the network.
        path: where to write, usually ending in .safetensors; its folder is made if it does not exist.
        metadata: strings to keep with the weights, such as the class names; read back by `load_model`.

    Raises:
        ValueError: a metadata value is not a string, or its key is "fakd.model".
    """
    path = Path(path)
    notes = dict(metadata or {})
    if CONFIG_KEY in notes:
        raise ValueError(f"metadata key {CONFIG_KEY!r} is reserved for the architecture")
    if wrong := [f"{key} ({type(value).__name__})" for key, value in notes.items() if not isinstance(value, str)]:
        raise ValueError(f"metadata values must be strings, got {', '.join(wrong)}: encode them, e.g. with json.dumps")
    tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in model.state_dict().items()}
    with written_at_once(path) as temporary:
        save_file(tensors, temporary, metadata={CONFIG_KEY: model.config.to_json(), **notes})


def load_model(path: str | Path) -> tuple[AnySegmentor, dict[str, str]]:
    """Rebuild a network that `save_model` wrote.

    Args:
        path: a .safetensors file, the folder of a finished run, or one that `save_pretrained` or `fakd share` made; or
            a .ckpt of a run, whose student it is.

    Returns:
        The network on the CPU in eval mode, and the caller's metadata.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: the file is damaged, was not written by fakd, or does not fit its own architecture.
    """
    path = Path(path)
    if path.is_dir():
        path = path / (HUB_FILE if (path / HUB_FILE).is_file() else RUN_FILE)
    if not path.is_file():
        raise FileNotFoundError(
            f"no model file at {path}; expected a .safetensors file written by fakd, or a finished run's folder"
        )
    metadata, tensors = _student_of(path) if path.suffix == RUN_SUFFIX else _content_of(path)
    if CONFIG_KEY not in metadata:
        raise ValueError(f"{path} has no metadata entry {CONFIG_KEY!r}: it was not written by fakd.models.save_model")
    try:
        config = _config(metadata.pop(CONFIG_KEY))
    except (TypeError, ValueError) as error:
        raise ValueError(f"{path} describes a network that this version cannot build: {error}") from error
    # The random weights drawn here are overwritten at once; they must not shift the caller's random numbers.
    with torch.random.fork_rng(devices=[]):
        expected = _without_weights(config).state_dict()  # a small file may claim a network that no memory holds
        if problems := mismatches(expected, tensors):
            raise ValueError(f"{path} does not fit its own architecture {config}:{listed(problems)}")
        model = _build(config)
    model.load_state_dict(tensors)
    model.notes = dict(metadata)
    return model.eval(), metadata


def _content_of(path: Path) -> tuple[dict[str, str], dict[str, Tensor]]:
    """The metadata and the tensors of a .safetensors file."""
    try:
        with safe_open(path, framework="pt") as file:
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - not a dict
            return dict(file.metadata() or {}), tensors
    except SafetensorError as error:
        raise ValueError(f"{path} is not a complete safetensors file ({error}); was it cut short?") from error


def _student_of(path: Path) -> tuple[dict[str, str], dict[str, Tensor]]:
    """The same of the network that learns, out of a run's own checkpoint."""
    content = read_torch_file(path)
    notes, state = (
        (content.get(key) for key in (NOTES_KEY, "state_dict")) if isinstance(content, dict) else (None, None)
    )
    if not isinstance(notes, dict) or not isinstance(state, dict):
        raise ValueError(
            f"{path} does not say which network it holds: it is no checkpoint of a run, or one of an earlier release. "
            f"Name the run folder, {path.parent.parent}, once the run is finished."
        )
    tensors = {str(key): value for key, value in state.items() if isinstance(value, Tensor)}
    prefix = "student."
    return (
        {str(key): str(value) for key, value in notes.items()},
        {key.removeprefix(prefix): value for key, value in tensors.items() if key.startswith(prefix)},
    )


def network_of(text: str) -> AnySegmentor:
    """Build the network that a config's JSON describes on PyTorch's meta device: layers and shapes without content.

    Raises:
        ValueError: it describes none that this version can build.
    """
    try:
        return _without_weights(_config(text))
    except TypeError as error:
        raise ValueError(str(error)) from error


def _without_weights(config: ModelConfig | ForeignConfig) -> AnySegmentor:
    with torch.device("meta"), _RatesOnCPU():
        return _build(config)


def _config(text: str) -> ModelConfig | ForeignConfig:
    kind = ForeignConfig if '"library"' in text else ModelConfig
    return kind.from_json(text)


def _build(config: ModelConfig | ForeignConfig) -> AnySegmentor:
    return Segmentor(config) if isinstance(config, ModelConfig) else ForeignSegmentor(config)


class _RatesOnCPU(TorchFunctionMode):
    """Lets constructors read the drop rates of their layers, which some make by linspace, where all else is meta."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = dict(kwargs or {})
        if func is torch.linspace:
            kwargs.setdefault("device", "cpu")
        return func(*args, **kwargs)
