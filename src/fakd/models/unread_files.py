"""What is said of files that hold no weights alone: programs, whole modules, and what would have to be run."""

import pickletools
import zipfile
from pathlib import Path

import torch

_MODULES = "torch.nn.modules."


def torchscript_refusal(path: Path) -> str | None:
    """What to say of a TorchScript file; None of all others."""
    try:
        with zipfile.ZipFile(path) as archive:
            if not any(name.endswith("/constants.pkl") for name in archive.namelist()):
                return None
    except (zipfile.BadZipFile, NotImplementedError):
        return None
    return (
        f"{path} is a TorchScript program, not a file of weights. Save its weights alone: torch.save({{'state_dict': "
        f"torch.jit.load({str(path)!r}).state_dict()}}, 'weights.pth')"
    )


def pickle_refusal(path: Path) -> str:
    """What to say of a pickle that PyTorch does not read as tensors and plain values."""
    try:
        names = sorted(torch.serialization.get_unsafe_globals_in_checkpoint(path))
    except Exception:  # no pickle at all, or an older format
        names = []
    if not names:
        return (
            f"{path} cannot be read as a file of weights: it is no file of PyTorch, it was cut short, or it holds "
            "objects that would have to be run."
        )
    what, advice = "more than weights", "torch.save({'state_dict': checkpoint['state_dict']}, 'weights.pth')"
    if any(name.startswith(_MODULES) for name in names):
        entry = "checkpoint['model']" if _is_mapping(path) else "model"
        what = f"more than weights, {'a whole module among them' if _is_mapping(path) else 'a whole module'}"
        advice = f"torch.save({{'state_dict': {entry}.state_dict()}}, 'weights.pth')"
    return (
        f"{path} holds {what}: reading it would call {', '.join(names[:5])}, which could run any code. It is not read. "
        f"If you trust where it comes from, save the weights alone there, whatever their entry is called: {advice}"
    )


def _is_mapping(path: Path) -> bool:
    """Whether the whole of a file is a dict, as far as its first operation tells."""
    try:
        with zipfile.ZipFile(path) as archive:
            pickle = next(name for name in archive.namelist() if name.endswith("data.pkl"))
            start = archive.read(pickle)
        for operation, argument, _ in pickletools.genops(start):
            if operation.name not in ("PROTO", "FRAME"):
                return operation.name == "EMPTY_DICT" or argument == "collections OrderedDict"
    except Exception:  # an older format, or a damaged file
        pass
    return False
