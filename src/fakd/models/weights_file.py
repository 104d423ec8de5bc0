"""Files of weights: read without running anything, and compared with what a network expects."""

import pickle
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor


class _Inert:
    """Stands for an object of a training tool's log: it takes whatever it is given and does nothing."""

    def __init__(self, *ignored: Any) -> None: ...

    def __setstate__(self, ignored: Any) -> None: ...


# What numpy's own pickles name, without reaching into a module that has moved.
_NUMPY_MAKERS = {"_reconstruct": np.zeros(1).__reduce__()[0], "scalar": np.float64(0).__reduce__()[0]}

# Checkpoints of MMEngine carry the run's log beside the weights: numpy numbers, and objects of its own that are
# read as inert ones. (Under either name that numpy's module has had.)
_HARMLESS: list[Any] = [
    *((_Inert, f"mmengine.logging.{name}") for name in ("history_buffer.HistoryBuffer", "message_hub.MessageHub")),
    (_Inert, "builtins.getattr"),
    *(
        (function, f"numpy.{core}.multiarray.{name}")
        for core in ("core", "_core")
        for name, function in _NUMPY_MAKERS.items()
    ),
    np.ndarray,
    np.dtype,
    *(type(np.dtype(kind)) for kind in "?bhilqBHILQefdUS"),
]


def read_torch_file(path: Path) -> Any:
    """Read a .pth or .pt file, of tensors and plain values only.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it is damaged, or holds anything that would have to be run to be read.
    """
    if not path.is_file():
        raise FileNotFoundError(f"no file of weights at {path}")
    _require_stored(path)
    try:
        with torch.serialization.safe_globals(_HARMLESS):
            return torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise ValueError(_refusal(path)) from error  # PyTorch's own text advises to run what is in the file
    except Exception as error:  # a damaged archive or pickle may raise anything
        raise ValueError(f"{path} cannot be read as a file of weights ({error}); was it cut short?") from error


def _require_stored(path: Path) -> None:
    """Refuse tensors that would unpack to a thousand times the file; PyTorch itself compresses nothing."""
    try:
        with zipfile.ZipFile(path) as archive:
            expanded = sum(member.file_size for member in archive.infolist())
    except (zipfile.BadZipFile, NotImplementedError):
        return  # a file of PyTorch's older format, or none at all
    if expanded > path.stat().st_size:
        raise ValueError(
            f"{path} is {path.stat().st_size:,} bytes and claims to hold {expanded:,}: PyTorch does not compress, so "
            "it was not written by it, and it is not read."
        )


def _refusal(path: Path) -> str:
    try:
        names = torch.serialization.get_unsafe_globals_in_checkpoint(path)
    except Exception:  # no pickle at all, or an older format
        names = []
    if not names:
        return (
            f"{path} cannot be read as a file of weights: it is no file of PyTorch, it was cut short, or it holds "
            "objects that would have to be run."
        )
    return (
        f"{path} holds more than weights: reading it would call {', '.join(sorted(names)[:5])}, which could run any "
        "code. It is not read. If you trust where it comes from, save the weights alone: "
        "torch.save({'state_dict': checkpoint['state_dict']}, 'weights.pth')"
    )


def read_weights(path: Path) -> dict[str, Tensor]:
    """Read a file of named tensors: .safetensors, or .pth with the names at the top or under "state_dict".

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it is damaged, or holds anything else.
    """
    if path.suffix == ".safetensors" and path.is_file():
        return read_safetensors(path)[1]
    return state_dict_of(read_torch_file(path), path)


def read_safetensors(path: Path) -> tuple[dict[str, str], dict[str, Tensor]]:
    """Return the metadata and the tensors of a .safetensors file.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it is damaged.
    """
    try:
        with safe_open(path, framework="pt") as file:
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - not a dict
            return dict(file.metadata() or {}), tensors
    except SafetensorError as error:
        raise ValueError(f"{path} is not a complete safetensors file ({error}); was it cut short?") from error


def state_dict_of(content: Any, path: Path) -> dict[str, Tensor]:
    """Return the named tensors of what `read_torch_file` read; `path` is for the error.

    Raises:
        ValueError: there are none.
    """
    if isinstance(content, Mapping) and isinstance(content.get("state_dict"), Mapping):
        content = content["state_dict"]
    if (
        not isinstance(content, Mapping)
        or not content
        or not all(isinstance(key, str) and isinstance(value, Tensor) for key, value in content.items())
    ):
        raise ValueError(f"{path} must hold named tensors, at the top or under 'state_dict'")
    # What DistributedDataParallel puts before every name.
    return {key.removeprefix("module."): value for key, value in content.items()}


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
