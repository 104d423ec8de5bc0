"""Everything needed to rebuild a network without its weights."""

import json
from dataclasses import asdict, dataclass

OUTPUT_STRIDES = (8, 16, 32)
"""How many image pixels one cell of the encoder's last map may stand for, along each side."""


@dataclass(frozen=True)
class ModelConfig:
    """The architecture of a `Segmentor`; equal configs give networks with equal state entries.

    Raises:
        ValueError: a number is out of its range.
    """

    head: str
    """A key of `fakd.models.HEADS`, for example "pspnet"."""
    backbone: str
    """A key of `fakd.models.BACKBONES` or any timm name, for example "resnet18_v1c"."""
    num_classes: int
    """C, at least 1."""
    output_stride: int = 8
    """Image pixels per cell of the encoder's last map: 8, 16 or 32."""
    channels: int | None = None
    """A, the width of the head and the classifier's input; None leaves it to the head's `default_channels`."""
    dropout: float = 0.1
    """Probability of dropping a whole channel before each classifier, in [0, 1)."""
    aux_channels: int | None = None
    """Width of the auxiliary head on the second to last stage; None means no auxiliary head."""

    def __post_init__(self) -> None:
        if self.num_classes < 1:
            raise ValueError(f"num_classes must be at least 1, got {self.num_classes}")
        if self.output_stride not in OUTPUT_STRIDES:
            raise ValueError(f"output_stride must be one of {OUTPUT_STRIDES}, got {self.output_stride}")
        if self.channels is not None and self.channels < 1:
            raise ValueError(f"channels must be at least 1 (or None for the default), got {self.channels}")
        if not 0.0 <= self.dropout < 1.0:
            raise ValueError(f"dropout must be in [0, 1), got {self.dropout}")
        if self.aux_channels is not None and self.aux_channels < 1:
            raise ValueError(f"aux_channels must be at least 1 (or None for no head), got {self.aux_channels}")

    @property
    def network(self) -> str:
        """What `create_model` calls it."""
        return f"{self.head}/{self.backbone}"

    def to_json(self) -> str:
        """Return the config as one line of JSON."""
        return json.dumps(asdict(self))


def default_aux_channels(stage_channels: int) -> int:
    """Return a quarter of the stage's width, as a multiple of 8 and at least 64."""
    return max(64, round(stage_channels / 32) * 8)
