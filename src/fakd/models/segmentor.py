"""The network that every method trains: normalise, encode, decode, classify."""

import json
from dataclasses import asdict, dataclass, replace

from torch import Tensor, nn

from fakd.models.encoder import Encoder
from fakd.models.heads.aspp import ASPPHead
from fakd.models.heads.fcn import FCNConcatHead, FCNHead
from fakd.models.heads.head import DecodeHead, pixel_classifier
from fakd.models.heads.isa import ISAHead
from fakd.models.heads.linear import LinearConcatHead, LinearHead
from fakd.models.heads.psp import PSPHead
from fakd.models.heads.upernet import UPerHead
from fakd.models.network import Network
from fakd.plugins import Registry
from fakd.types import SegmentationOutput

HEADS: Registry[type[DecodeHead]] = Registry(
    "fakd.heads",
    DecodeHead,
    {
        "pspnet": PSPHead,
        "deeplabv3plus": ASPPHead,
        "isanet": ISAHead,
        "fcn-concat": FCNConcatHead,
        "upernet": UPerHead,
        "linear": LinearHead,
        "linear-concat": LinearConcatHead,
    },
)
"""Head name -> class: those above, and what installed packages bring."""


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
    """Image pixels per cell of the encoder's last map: 8, 16 or 32, or the encoder's own where it cannot be dilated."""
    channels: int | None = None
    """A, the width of the head and the classifier's input; None leaves it to the head's `default_channels`."""
    dropout: float = 0.1
    """Probability of dropping a whole channel before each classifier, in [0, 1)."""
    aux_channels: int | None = None
    """Width of the auxiliary head on the second to last stage; None means no auxiliary head."""
    in_channels: int = 3
    """Channels of the images; 3 is RGB."""

    def __post_init__(self) -> None:
        if self.num_classes < 1:
            raise ValueError(f"num_classes must be at least 1, got {self.num_classes}")
        if self.output_stride < 1:
            raise ValueError(f"output_stride must be at least 1, got {self.output_stride}")
        if self.channels is not None and self.channels < 1:
            raise ValueError(f"channels must be at least 1 (or None for the default), got {self.channels}")
        if not 0.0 <= self.dropout < 1.0:
            raise ValueError(f"dropout must be in [0, 1), got {self.dropout}")
        if self.in_channels < 1:
            raise ValueError(f"in_channels must be at least 1, got {self.in_channels}")
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


class Segmentor(Network, built_from=ModelConfig):
    """An encoder, a decode head, and a 1x1 classifier; in training also an auxiliary head.

    Images are float RGB (B, 3, H, W) in [0, 1], or of `config.in_channels` others: the network subtracts the mean and
    divides by the standard deviation that its encoder expects, which are saved with the weights.

    Args:
        config: the architecture. `channels=None` is replaced by the default for the encoder in `self.config`.
        encoder: the encoder that `config` describes, if it is built already; None builds it with random weights.

    Raises:
        ValueError: the head's or the encoder's name is unknown.
    """

    config: ModelConfig

    def __init__(self, config: ModelConfig, encoder: Encoder | None = None) -> None:
        super().__init__()
        if config.head not in HEADS:
            raise ValueError(f"unknown head {config.head!r}; valid heads: {', '.join(HEADS)}")
        head = HEADS[config.head]
        encoder = encoder or Encoder(
            config.backbone, config.output_stride, last_blocks=head.last_blocks, in_channels=config.in_channels
        )
        channels = config.channels or head.default_channels(encoder.channels)
        self.config = replace(config, channels=channels)
        self.register_buffer("mean", encoder.image_mean.clone())
        self.register_buffer("std", encoder.image_std.clone())
        self.encoder = encoder
        self.head = head(encoder.channels, encoder.strides, channels)
        self.dropout = nn.Dropout2d(config.dropout)
        self.classifier = pixel_classifier(channels, config.num_classes)
        self.aux_head = (
            FCNHead(encoder.channels[-2], config.aux_channels, config.num_classes, config.dropout)
            if config.aux_channels is not None
            else None
        )

    def drop_aux(self) -> None:
        """Take the auxiliary head away, as inference has no use for it."""
        self.aux_head = None
        self.config = replace(self.config, aux_channels=None)

    def forward(self, images: Tensor) -> SegmentationOutput:
        """Score every class at every position of the head.

        Args:
            images: (B, 3, H, W) float RGB in [0, 1], any H and W.

        Returns:
            logits (B, C, h, w), features (B, A, h, w), the encoder's last four maps, and, in training mode if the
            network has an auxiliary head, its scores. h = ceil(H / s) with s the stride of the encoder's last map for
            pspnet, isanet and linear, of its first map (4, but for plain transformers) for
            deeplabv3plus, fcn-concat, linear-concat and upernet.

        Raises:
            ValueError: `images` is not a float tensor of three channels.
        """
        self.check_images(images)
        stages = self.encoder((images - self.mean) / self.std)
        features = self.head(stages)
        logits = self.classifier(self.dropout(features))
        aux = self.aux_head(stages[-2]) if self.training and self.aux_head is not None else None
        return SegmentationOutput(logits, features, aux, stages)
