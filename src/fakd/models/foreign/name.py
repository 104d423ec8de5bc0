"""What users call the networks of other libraries."""

import re
from dataclasses import dataclass
from pathlib import Path

LIBRARIES = ("torchvision", "smp", "hf")
"""What such a name begins with, before the colon."""

_PATH = re.compile(r"@([A-Za-z_][\w.]*(?:\+[A-Za-z_][\w.]*)*)$")


@dataclass(frozen=True)
class ForeignName:
    """LIBRARY:NETWORK, then perhaps =WEIGHTS, then perhaps @PATH of the classifier.

    Example:
        >>> ForeignName.parse("torchvision:lraspp_mobilenet_v3_large=mine.pth@classifier.low+classifier.high")
        ForeignName(library='torchvision', network='lraspp_mobilenet_v3_large', weights='mine.pth', \
classifier=('classifier.low', 'classifier.high'))
        >>> ForeignName.parse("hf:models/segformer").classifier is None
        True
    """

    library: str
    network: str
    """The library's name of it, or a folder."""
    weights: str | None = None
    """A file of weights of that network."""
    classifier: tuple[str, ...] | None = None
    """Paths of its classifier within the network; None where the library's place is right."""

    @classmethod
    def parse(cls, name: str) -> "ForeignName":
        """Take a name apart.

        Raises:
            ValueError: nothing stands behind the colon.
        """
        library, _, rest = name.partition(":")
        classifier = None
        if (found := _PATH.search(rest)) and not Path(rest).exists():
            rest, classifier = rest[: found.start()], tuple(found[1].split("+"))
        network, equals, weights = rest.partition("=") if not Path(rest).exists() else (rest, "", "")
        if not network or (equals and not weights):
            raise ValueError(
                f"{name!r} names no network: expected {library}:NETWORK, as torchvision:deeplabv3_resnet50, "
                "smp:unet/mobilenet_v2 or hf:FOLDER, then perhaps =FILE with weights"
            )
        return cls(library, network, weights or None, classifier)

    @property
    def trained(self) -> bool:
        """Whether trained weights are on this machine, so that it is opened rather than built."""
        return (
            self.library == "hf" or self.weights is not None or (self.library == "smp" and Path(self.network).is_dir())
        )

    @property
    def files(self) -> tuple[str, ...]:
        """Files and folders that the name speaks of."""
        folder = [self.network] if self.library == "hf" or Path(self.network).is_dir() else []
        return (*folder, *([self.weights] if self.weights else []))


def is_foreign(name: str | Path) -> bool:
    """Whether `name` is of a network of another library.

    Example:
        >>> is_foreign("smp:unet/resnet18"), is_foreign("pspnet-r18"), is_foreign("runs/teacher")
        (True, False, False)
    """
    return str(name).partition(":")[0] in LIBRARIES and ":" in str(name)
