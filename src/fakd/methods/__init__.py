"""The distillation methods, one file each."""

import inspect
from collections.abc import Mapping
from typing import Any

from fakd.console import did_you_mean
from fakd.methods.at import AttentionTransfer
from fakd.methods.cirkd import CIRKD
from fakd.methods.cwd import ChannelKD, FeatureChannelKD
from fakd.methods.fakd import FAKD, FAKDPixel
from fakd.methods.fitnet import FitNet, Projector
from fakd.methods.ifvd import IFVD
from fakd.methods.method import Method
from fakd.methods.none import NoDistillation
from fakd.methods.pixel import PixelKD
from fakd.methods.skds import SKDS
from fakd.plugins import Registry
from fakd.types import ScoringModel, SegmentationModel

METHODS: Registry[type[Method]] = Registry(
    "fakd.methods",
    Method,
    {
        "none": NoDistillation,
        "pixel": PixelKD,
        "cwd": ChannelKD,
        "cwd-features": FeatureChannelKD,
        "at": AttentionTransfer,
        "fitnet": FitNet,
        "skds": SKDS,
        "ifvd": IFVD,
        "cirkd": CIRKD,
        "fakd": FAKD,
        "fakd-pixel": FAKDPixel,
    },
)
"""Every method by the word of the command line: those above, and what installed packages bring."""


def method_options(name: str) -> dict[str, inspect.Parameter]:
    """The options a method takes, by name, with their defaults and types.

    Raises:
        ValueError: there is no such method.

    Example:
        >>> list(method_options("cwd"))
        ['weight', 'temperature', 'augment_logits']
    """
    if name not in METHODS:
        raise ValueError(
            f"there is no method {name!r}; the methods are {', '.join(METHODS)}.{did_you_mean(name, METHODS)}"
        )
    options: dict[str, inspect.Parameter] = {}
    for kind in METHODS[name].__mro__:
        parameters = inspect.signature(kind).parameters
        options = options | {key: value for key, value in parameters.items() if key not in options}
        if inspect.Parameter.VAR_KEYWORD not in {parameter.kind for parameter in parameters.values()}:
            break  # none is passed on to the class it is made of
    return {
        key: value
        for key, value in options.items()
        if key not in ("student", "teacher", "max_steps") and value.kind != value.VAR_KEYWORD
    }


def create_method(
    name: str,
    student: SegmentationModel,
    teacher: SegmentationModel | ScoringModel | None,
    *,
    max_steps: int,
    options: Mapping[str, Any] | None = None,
) -> Method:
    """Build a method by name.

    Args:
        name: a key of `METHODS`.
        student: the network that learns.
        teacher: the frozen network; None where the method needs none.
        max_steps: length of the run in optimizer steps.
        options: what to change of the method's defaults.

    Raises:
        ValueError: there is no such method or option, a value is out of range, or the teacher has no features and the
            method needs them.
    """
    known = method_options(name)
    unknown = [key for key in options or {} if key not in known]
    if unknown:
        raise ValueError(
            f"method {name!r} has no option {', '.join(map(repr, unknown))}; "
            + (f"its options are {', '.join(known)}." if known else "it has none.")
        )
    return METHODS[name](student, teacher, max_steps=max_steps, **(options or {}))


__all__ = [
    "CIRKD",
    "FAKD",
    "IFVD",
    "METHODS",
    "SKDS",
    "AttentionTransfer",
    "ChannelKD",
    "FAKDPixel",
    "FeatureChannelKD",
    "FitNet",
    "Method",
    "NoDistillation",
    "PixelKD",
    "Projector",
    "create_method",
    "method_options",
]
