"""The network that learns, made as a run's options say."""

from lightning_fabric import seed_everything
from torch import nn

from fakd.console import say
from fakd.data.class_names import Classes
from fakd.models import Network, copy_weights, create_model
from fakd.models.foreign.from_torchvision import published
from fakd.models.meta import on_meta
from fakd.models.names import NetworkName
from fakd.training.config import RunConfig
from fakd.training.freezing import freeze_encoder


def create_student(config: RunConfig) -> Network:
    """Make the network that learns, from the run's seed and the weights it is to start from."""
    seed_everything(config.seed, verbose=False)
    student = create_model(
        config.trained_network,
        num_classes=config.spec.num_classes,
        output_stride=config.output_stride,
        channels=config.head_channels,
        dropout=config.dropout,
        aux=config.aux_weight > 0 and not config.freeze_backbone,  # it is there to train the encoder
        backbone_weights=config.backbone_weights,
        in_channels=config.spec.bands.channels,
    )
    if config.init is not None:
        copy_weights(config.init, student, Classes.of_dataset(config.spec))
    frozen = ""
    if config.freeze_backbone:
        freeze_encoder(student, config.trained_network)
        frozen = f", {count_parameters(student, learning=True) / 1e6:.2f} M of them learn"
    without = ", without an auxiliary head" if config.aux_weight and student.aux_head is None else ""
    say(f"network   {config.trained_network}: {count_parameters(student) / 1e6:.2f} M parameters{frozen}{without}")
    return student


def check_network(config: RunConfig) -> None:
    """Refuse a network that learns and cannot be built, before anything is read for it.

    Raises:
        ValueError: there is none of that name, or it does not take one of the options.
    """
    asked = NetworkName.parse(config.trained_network)
    if asked.kind == "torchvision":
        published(asked.network)
    if asked.is_foreign:
        return  # whose library may fetch its settings
    with on_meta():
        create_model(
            config.trained_network,
            num_classes=config.spec.num_classes,
            output_stride=config.output_stride,
            channels=config.head_channels,
            dropout=config.dropout,
        )


def count_parameters(model: nn.Module, *, learning: bool = False) -> int:
    """How many numbers a network has, or how many of them learn."""
    return sum(parameter.numel() for parameter in model.parameters() if parameter.requires_grad or not learning)
