"""Files of weights: read without running anything, and compared with what a network expects."""

import hashlib
import pickle
import zipfile
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import Any
from urllib.parse import urlsplit

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from fakd.files.checksum import checksum_in_name
from fakd.files.download import cache_folder, download
from fakd.models.unread_files import pickle_refusal, torchscript_refusal


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


# Where training programs keep the weights; plain ones go before mean ones.
_PLACES = (
    *("state_dict", "model_state_dict", "model", "network", "net", "module", "student", "teacher"),
    *("ema", "model_ema", "state_dict_ema"),
)
# What DistributedDataParallel, torch.compile, Lightning, distillation and mean weights put before every name.
_WRAPPERS = ("module.", "_orig_mod.", "model.", "student.", "ema.", "ema_model.")
_COUNT = "n_averaged"  # beside the names of torch.optim.swa_utils.AveragedModel
_SHOWN = 8


def read_torch_file(path: Path) -> Any:
    """Read a .pth or .pt file, of tensors and plain values only.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it is damaged, or holds anything that would have to be run to be read.
    """
    if not path.is_file():
        raise FileNotFoundError(f"no file of weights at {path}")
    if refusal := torchscript_refusal(path):
        raise ValueError(refusal)
    _require_stored(path)
    try:
        with torch.serialization.safe_globals(_HARMLESS):
            return torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise ValueError(pickle_refusal(path)) from error  # PyTorch's own text advises to run what is in the file
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


def downloaded(url: str) -> Path:
    """Return where a published file lies, once it is downloaded unless it is there already.

    Raises:
        DownloadError: it could not be downloaded, or is not what its name says.
    """
    name = PurePosixPath(urlsplit(url).path).name
    checksum = checksum_in_name(name)
    # Many addresses end in "model.pth": without a checksum only the whole address tells one file from another.
    kept = name if checksum else f"{hashlib.sha256(url.encode()).hexdigest()[:12]}-{name}"
    return download(url, cache_folder() / kept, checksum=checksum)


def read_weights(path: Path) -> dict[str, Tensor]:
    """Read a file of named tensors: .safetensors, or .pth with the names at the top or under "state_dict", "model"...

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it is damaged, or holds anything else.
    """
    if path.suffix == ".safetensors" and path.is_file():
        return state_dict_of(read_safetensors(path)[1], path)
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
    """Return the named tensors of what `read_torch_file` read, without what wrappers put before every name.

    Args:
        content: named tensors, or a dict with them under one of the usual names.
        path: for the error.

    Raises:
        ValueError: there are none.

    Example:
        >>> weights = {"module.conv.weight": torch.zeros(1), "module.conv.bias": torch.zeros(1)}
        >>> list(state_dict_of({"epoch": 3, "model": weights | {"n_averaged": torch.tensor(7)}}, Path("x.pth")))
        ['conv.weight', 'conv.bias']
    """
    places = [content]
    if isinstance(content, Mapping):
        places = [content[place] for place in _PLACES if place in content] + places
    state = next((place for place in places if _named_tensors(place)), None)
    if state is None:
        raise ValueError(
            f"{path} must hold named tensors, at the top or under {', '.join(map(repr, _PLACES))}; {_held(content)}"
        )
    state = {name: tensor for name, tensor in state.items() if name != _COUNT}
    while prefix := next((start for start in _WRAPPERS if all(name.startswith(start) for name in state)), ""):
        state = {name.removeprefix(prefix): tensor for name, tensor in state.items()}
    return state


def _named_tensors(content: Any) -> bool:
    return (
        isinstance(content, Mapping)
        and bool(content.keys() - {_COUNT})
        and all(isinstance(key, str) and isinstance(value, Tensor) for key, value in content.items())
    )


def _held(content: Any) -> str:
    if not isinstance(content, Mapping):
        return f"it holds a {type(content).__name__}."
    entries = [f"{key!r} ({type(value).__name__})" for key, value in content.items()]
    return f"it holds {', '.join(entries[:_SHOWN]) or 'nothing'}{', ...' if len(entries) > _SHOWN else ''}."


def prefix_advice(expected: Iterable[str], found: Iterable[str]) -> str:
    """Say what to strip from the names of a file, where that would make them known; else nothing.

    Example:
        >>> prefix_advice(["conv.weight", "conv.bias"], ["net.conv.weight", "net.conv.bias", "loss.weight"])
        "\\n2 of its entries would be known without the prefix 'net.': save the file anew with \
{name.removeprefix('net.'): tensor for name, tensor in weights.items() if name.startswith('net.')}"
    """
    known, prefixes = set(expected), Counter[str]()
    for name in found:
        ends = (place + 1 for place, letter in enumerate(name) if letter == ".")
        if name not in known and (end := next((end for end in ends if name[end:] in known), 0)):
            prefixes[name[:end]] += 1
    if not prefixes:
        return ""
    (prefix, count), *_ = prefixes.most_common(1)
    return (
        f"\n{count} of its entries would be known without the prefix {prefix!r}: save the file anew with "
        f"{{name.removeprefix({prefix!r}): tensor for name, tensor in weights.items() if name.startswith({prefix!r})}}"
    )


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
