"""What a user calls a network, taken apart without opening or building it."""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from fakd.models.foreign import LIBRARIES, scores_alone
from fakd.models.foreign.hf_files import on_hub
from fakd.models.mmseg.published import PREFIX
from fakd.models.network import HUB_FILE, RUN_FILE, RUN_SUFFIX
from fakd.models.onnx import SUFFIX
from fakd.models.scoring import SCRIPT, split_normalisation
from fakd.models.shipped import SHIPPED, shipped_file

Kind = Literal["new", "file", "pth", "onnx", "torchscript", "mmseg", "torchvision", "smp", "hf"]
"""A preset or HEAD/BACKBONE; a file or folder of this project, a checkpoint of MMSegmentation, an ONNX file; and what
stands before a colon."""

_SUFFIXES: dict[str, Kind] = {
    ".safetensors": "file",
    RUN_SUFFIX: "file",
    ".pth": "pth",
    ".pt": "pth",
    SUFFIX: "onnx",
}
SCORING: tuple[Kind, ...] = ("onnx", "torchscript")
"""Files that give scores and no features."""
_CLASSIFIER = re.compile(r"@([A-Za-z_][\w.]*(?:\+[A-Za-z_][\w.]*)*)$")


@dataclass(frozen=True)
class NetworkName:
    """What a user calls a network, taken apart; another library's is LIBRARY:NETWORK[=WEIGHTS][@PATH+PATH].

    Example:
        >>> NetworkName.parse("torchvision:lraspp_mobilenet_v3_large=mine.pth@classifier.low+classifier.high")
        NetworkName(kind='torchvision', network='lraspp_mobilenet_v3_large', weights='mine.pth', \
classifier=('classifier.low', 'classifier.high'), normalisation=None)
        >>> [NetworkName.parse(name).kind for name in ("pspnet-r18", "runs/a/best.ckpt", "teacher.pth", "mmseg:x")]
        ['new', 'file', 'pth', 'mmseg']
    """

    kind: Kind
    network: str
    """The whole name, or what stands between the colon and the rest: the library's name of it, or a folder; of a
    network that comes with the package, its file."""
    weights: str | None = None
    """A file of weights of another library's network."""
    classifier: tuple[str, ...] | None = None
    """Paths of its classifier within the network; None where the library's place is right."""
    normalisation: str | None = None
    """How images are normalised for an ONNX or TorchScript file; None where it does that itself."""

    @classmethod
    def parse(cls, name: str | Path) -> "NetworkName":
        """Take a name apart.

        Raises:
            ValueError: nothing stands behind the colon of another library's.
        """
        prefix, colon, rest = str(name).partition(":")
        if colon and prefix in LIBRARIES:
            return cls._of_library(prefix, rest)
        if str(name).startswith(PREFIX):
            return cls("mmseg", rest)
        if str(name).startswith(SCRIPT) or f"{SUFFIX}@" in str(name):
            file, normalisation = split_normalisation(str(name))
            kind: Kind = "torchscript" if file.startswith(SCRIPT) else "onnx"
            return cls(kind, file.removeprefix(SCRIPT), normalisation=normalisation)
        path = Path(name)
        holds_one = any((path / file).is_file() for file in (RUN_FILE, HUB_FILE))
        if str(name) in SHIPPED and not holds_one:  # a user's own run folder of that name goes first
            return cls("file", str(shipped_file(str(name))))
        return cls(_SUFFIXES.get(path.suffix, "file" if holds_one else "new"), str(name))

    @classmethod
    def _of_library(cls, library: Any, rest: str) -> "NetworkName":
        classifier, given = None, f"{library}:{rest}"
        if (found := _CLASSIFIER.search(rest)) and not Path(rest).exists():
            rest, classifier = rest[: found.start()], tuple(found[1].split("+"))
        network, equals, weights = rest.partition("=") if not Path(rest).exists() else (rest, "", "")
        if not network or (equals and not weights):
            raise ValueError(
                f"{given!r} names no network: expected {library}:NETWORK, as torchvision:deeplabv3_resnet50, "
                "smp:unet/mobilenet_v2, hf:FOLDER or hf:ORGANISATION/NETWORK of the Hugging Face Hub, then perhaps "
                "=FILE with weights"
            )
        return cls(library, network, weights or None, classifier)

    @property
    def is_foreign(self) -> bool:
        """Whether another library builds it."""
        return self.kind in LIBRARIES

    @property
    def trained(self) -> bool:
        """Whether trained weights are at hand, so that it is opened rather than built."""
        if self.is_foreign:
            return self.kind == "hf" or self.weights is not None or (self.kind == "smp" and Path(self.network).is_dir())
        return self.kind != "new"

    @property
    def files(self) -> tuple[str, ...]:
        """Files and folders that the name speaks of."""
        if self.kind == "mmseg":
            return ()
        of_hub = self.kind == "hf" and on_hub(self.network)
        named = not self.is_foreign or (self.kind == "hf" and not of_hub) or Path(self.network).is_dir()
        return (*([self.network] if named else []), *([self.weights] if self.weights else []))


def names_trained_model(name: str | Path) -> bool:
    """Whether `name` is something for `open_model` rather than for `create_model`."""
    return NetworkName.parse(name).trained


def plain_name(network: str) -> str:
    """A network's name as part of a folder's.

    Example:
        >>> plain_name("pspnet/efficientnet_lite0"), plain_name("smp:unet/mobilenet_v2")
        ('pspnet-efficientnet_lite0', 'smp-unet-mobilenet_v2')
    """
    return re.sub(r"[^\w.+-]+", "-", network).strip("-")


def names_scorer(name: str | Path) -> bool:
    """Whether what a name stands for gives scores and no features, as far as it tells without its weights.

    Example:
        >>> names_scorer("teacher.onnx"), names_scorer("torchscript:teacher.pt"), names_scorer("runs/teacher")
        (True, True, False)
    """
    asked = NetworkName.parse(name)
    return asked.kind in SCORING or (asked.is_foreign and scores_alone(asked.kind, asked.network))
