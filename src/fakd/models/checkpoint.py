"""A trained network as one safetensors file that rebuilds itself."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

from fakd.models.config import ModelConfig
from fakd.models.hub import HUB_FILE
from fakd.models.segmentor import Segmentor
from fakd.writing import written_at_once

CONFIG_KEY = "fakd.model"
"""The metadata entry that holds the `ModelConfig` as JSON."""

RUN_FILE = "student.safetensors"
"""The name under which a finished run keeps its trained network."""


def save_model(model: Segmentor, path: str | Path, metadata: Mapping[str, str] | None = None) -> None:
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


def load_model(path: str | Path) -> tuple[Segmentor, dict[str, str]]:
    """Rebuild a network that `save_model` wrote.

    Args:
        path: a .safetensors file, the folder of a finished run, or one that `save_pretrained` or `fakd share` made.

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
    try:
        with safe_open(path, framework="pt") as file:
            metadata = dict(file.metadata() or {})
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - not a dict
    except SafetensorError as error:
        raise ValueError(f"{path} is not a complete safetensors file ({error}); was it cut short?") from error
    if CONFIG_KEY not in metadata:
        raise ValueError(f"{path} has no metadata entry {CONFIG_KEY!r}: it was not written by fakd.models.save_model")
    try:
        config = ModelConfig.from_json(metadata.pop(CONFIG_KEY))
    except (TypeError, ValueError) as error:
        raise ValueError(f"{path} describes a network that this version cannot build: {error}") from error
    # The random weights drawn here are overwritten at once; they must not shift the caller's random numbers.
    with torch.random.fork_rng(devices=[]):
        with torch.device("meta"):  # a small file may claim a network that no memory holds
            expected = Segmentor(config).state_dict()
        if problems := mismatches(expected, tensors):
            raise ValueError(f"{path} does not fit its own architecture {config}:{listed(problems)}")
        model = Segmentor(config)
    model.load_state_dict(tensors)
    model.notes = dict(metadata)
    return model.eval(), metadata


def mismatches(expected: Mapping[str, torch.Tensor], found: Mapping[str, torch.Tensor]) -> list[str]:
    """Return one line per entry that is missing, unexpected or of another shape."""
    lines = [f"missing: {name} {tuple(tensor.shape)}" for name, tensor in expected.items() if name not in found]
    lines += [f"unexpected: {name} {tuple(tensor.shape)}" for name, tensor in found.items() if name not in expected]
    lines += [
        f"{name}: expected {tuple(tensor.shape)}, found {tuple(found[name].shape)}"
        for name, tensor in expected.items()
        if name in found and found[name].shape != tensor.shape
    ]
    return lines


def listed(lines: Sequence[str], most: int = 20) -> str:
    """Return the lines indented below a message, the first `most` of them and how many more there are."""
    more = [f"... and {len(lines) - most} more"] if len(lines) > most else []
    return "\n  ".join(["", *lines[:most], *more])
