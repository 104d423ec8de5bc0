"""What a network of another library is, so that it can be built again without its weights; and how that is read."""

import json
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from importlib import import_module
from pathlib import Path
from typing import Any, NamedTuple

from timm.data.constants import IMAGENET_DEFAULT_MEAN, IMAGENET_DEFAULT_STD
from torch import Tensor, nn

from fakd.console import install_command

_LONGEST = 1 << 24  # bytes; the longest configurations have names of ten thousand classes


@dataclass(frozen=True)
class ForeignConfig:
    """The architecture of a `ForeignNetwork`; equal configs give networks with equal state entries.

    Raises:
        ValueError: a number is out of its range, or the settings are not plain values.
    """

    library: str
    """A key of `fakd.models.foreign.network.LIBRARIES`: "torchvision", "smp" or "hf"."""
    name: str
    """The network in that library, as "deeplabv3_resnet50", "unet/mobilenet_v2" or "segformer"."""
    num_classes: int
    """C, at least 1."""
    settings: Mapping[str, Any] = field(default_factory=dict)
    """What else the library is told to build it, as plain values."""
    aux: bool = False
    """Whether it has its auxiliary head, where the library has one for it."""
    classifier: tuple[str, ...] | None = None
    """Paths of the classifier within the network, where a user named them; None is the library's usual place."""
    mean: tuple[float, ...] = IMAGENET_DEFAULT_MEAN
    """Of RGB images in [0, 1], subtracted from them."""
    std: tuple[float, ...] = IMAGENET_DEFAULT_STD
    """Of RGB images in [0, 1], which they are divided by."""
    bgr: bool = False
    """Whether the network wants blue first."""

    def __post_init__(self) -> None:
        if self.num_classes < 1:
            raise ValueError(f"num_classes must be at least 1, got {self.num_classes}")
        if len(self.mean) != 3 or len(self.std) != 3 or min(self.std) <= 0:
            raise ValueError(f"mean and std must be three numbers, those of std above 0, got {self.mean}, {self.std}")
        # One order, so that equal networks have equal words to be hashed.
        object.__setattr__(self, "settings", json.loads(json.dumps(dict(self.settings), sort_keys=True)))
        for name in ("mean", "std", "classifier"):
            value = getattr(self, name)
            object.__setattr__(self, name, None if value is None else tuple(value))

    @property
    def network(self) -> str:
        """What people call it."""
        return f"{self.library}:{self.name}"

    def to_json(self) -> str:
        """Return the config as one line of JSON."""
        return json.dumps(asdict(self))


class Anatomy(NamedTuple):
    """A network that a library built, and where its parts are."""

    module: nn.Module
    """Called with normalised images (B, 3, H, W)."""
    classifier: tuple[str, ...] | None = None
    """Paths of the classifier; None where it has to be looked for."""
    aux: str | None = None
    """Name of the child that returns auxiliary scores; None without one."""
    features: str | None = None
    """Path of the module that is given the features, see `ClassifierTap`."""
    multiple: int = 1
    """What the height and width of its images must divide by."""
    size: int | None = None
    """The height and width that its images must have; None for any."""
    square: bool = False
    """Whether its images must be as high as they are wide."""
    scores: Callable[[nn.Module, Tensor], Tensor] | None = None
    """Calls a network that has no classifier of pixels with normalised images, and returns scores (B, C, h, w); None
    for all others."""


class Found(NamedTuple):
    """A network's architecture, and what came with it."""

    config: ForeignConfig
    state: Mapping[str, Any] | None = None
    """Weights under the library's own names; None for random ones."""
    notes: Mapping[str, str] = {}
    """What is known about its classes."""


def library(module: str, extra: str) -> Any:
    """Import an optional library.

    Args:
        module: its name.
        extra: what of this project's extras brings it.

    Raises:
        ModuleNotFoundError: it is not installed.
    """
    try:
        return import_module(module)
    except ModuleNotFoundError as error:
        if error.name != module:
            raise
        raise ModuleNotFoundError(f"this needs {module}, which is not installed: {install_command(extra)}") from None


def read_json(path: Path) -> dict[str, Any]:
    """Read a configuration.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it holds no JSON object, or is too large.
    """
    if not path.is_file():
        raise FileNotFoundError(f"no {path.name} in {path.parent}")
    if path.stat().st_size > _LONGEST:
        raise ValueError(f"{path} is {path.stat().st_size:,} bytes, expected {_LONGEST:,} at most")
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{path} cannot be read as JSON ({error})") from error
    if not isinstance(found, Mapping):
        raise ValueError(f"{path} must hold a JSON object, got {type(found).__name__}")
    return dict(found)
