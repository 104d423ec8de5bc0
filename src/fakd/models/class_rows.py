"""The weights that a network has for each class, where another starts from them."""

from collections.abc import Mapping
from dataclasses import replace

from torch import Tensor

from fakd.console import say
from fakd.data.class_names import Classes, class_order
from fakd.models.network import Network, network_of


def class_rows(network: Network) -> set[str]:
    """Names of the entries of its state_dict that have a row for each class: classifiers' weights and biases."""
    other = network_of(replace(network.config, num_classes=network.num_classes + 1).to_json()).state_dict()
    return {name for name, tensor in network.state_dict().items() if other[name].shape != tensor.shape}


def weights_for(name: str, network: Network, notes: Mapping[str, str], ours: Classes) -> dict[str, Tensor]:
    """Return a network's weights for one that scores as many classes, in the order of those.

    Args:
        name: the network's, for messages.
        network: whose weights they are.
        notes: what its file says of its classes.
        ours: the classes of the other.

    Returns:
        Its state_dict; without the rows of classes, which is said, where the classes are others.
    """
    tensors: dict[str, Tensor] = network.state_dict()
    try:
        order = class_order(name, Classes.of_network(network.num_classes, notes), "the student's data set", ours)
    except ValueError as error:
        say(f"init      {error} The classifier stays random.")
        rows = class_rows(network)
        return {key: tensor for key, tensor in tensors.items() if key not in rows}
    if order is None:
        return tensors
    return tensors | {key: tensors[key][order] for key in class_rows(network)}
