"""Feature-augmented knowledge distillation for semantic segmentation."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from fakd.methods import FAKD, ChannelKD, FAKDPixel, PixelKD
    from fakd.methods.covariance import ClassCovariance
    from fakd.models import (
        ClassifierTap,
        ScoringTeacher,
        Segmentor,
        create_model,
        load_mmseg,
        load_model,
        save_mmseg,
        save_model,
    )
    from fakd.types import IGNORE_INDEX, SegmentationModel, SegmentationOutput

__version__ = "0.3.0"

__all__ = [
    "FAKD",
    "IGNORE_INDEX",
    "ChannelKD",
    "ClassCovariance",
    "ClassifierTap",
    "FAKDPixel",
    "PixelKD",
    "ScoringTeacher",
    "SegmentationModel",
    "SegmentationOutput",
    "Segmentor",
    "__version__",
    "create_model",
    "load_mmseg",
    "load_model",
    "save_mmseg",
    "save_model",
]

_MODULES = {
    "fakd.methods": ("FAKD", "ChannelKD", "FAKDPixel", "PixelKD"),
    "fakd.methods.covariance": ("ClassCovariance",),
    "fakd.models": (
        *("ClassifierTap", "ScoringTeacher", "Segmentor", "create_model"),
        *("load_mmseg", "load_model", "save_mmseg", "save_model"),
    ),
    "fakd.types": ("IGNORE_INDEX", "SegmentationModel", "SegmentationOutput"),
}
"""Where the public names are: imported when they are asked for, so that `fakd --help` need not wait for PyTorch."""


def __getattr__(name: str) -> Any:
    for module, names in _MODULES.items():
        if name in names:
            return getattr(import_module(module), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
