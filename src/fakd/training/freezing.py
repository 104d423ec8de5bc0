"""Training the heads alone: an encoder that keeps what it knows."""

from torch import nn

from fakd.models import Network


def freeze_encoder(network: Network, name: str) -> None:
    """Let an encoder's parameters have no gradient, so that its activations need not be kept either.

    Raises:
        ValueError: nobody knows which parameters are the encoder's; `name` is what the network is called.
    """
    names = network.encoder_names()
    if not names:
        raise ValueError(
            f"freeze_backbone needs to know the encoder of {name}, which cannot be told from its heads: leave it out."
        )
    for parameter in names:
        network.get_parameter(parameter).requires_grad_(False)


def let_frozen_rest(network: nn.Module) -> None:
    """Put every part that learns nothing in eval mode: no dropout, and batch statistics that stay."""
    for module in network.modules():
        if (parameters := list(module.parameters())) and not any(item.requires_grad for item in parameters):
            module.eval()
