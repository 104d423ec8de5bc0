"""The weights that a network has for each class, where another starts from them."""

from collections.abc import Mapping
from dataclasses import replace

from fakd.console import say
from fakd.data.class_names import Classes, class_order
from fakd.models.network import Network, network_of


def class_rows(network: Network) -> set[str]:
    """Names of the entries of its state_dict that have a row for each class: classifiers' weights and biases."""
    other = network_of(replace(network.config, num_classes=network.num_classes + 1).to_json()).state_dict()
    return {name for name, tensor in network.state_dict().items() if other[name].shape != tensor.shape}


def bring_rows(name: str, network: Network, notes: Mapping[str, str], ours: Classes) -> set[str]:
    """Bring a network's rows of classes to the order of ours, as many, before another starts from its weights.

    Args:
        name: the network's, for messages.
        network: which is changed.
        notes: what its file says of its classes.
        ours: the classes of the other.

    Returns:
        The names of the rows that another is not to take, as they are of other classes, which is said; mostly none.
    """
    try:
        order = class_order(name, Classes.of_network(network.num_classes, notes), "the student's data set", ours)
    except ValueError as error:
        say(f"init      {error} The classifier stays random.")
        return class_rows(network)
    if order is not None:
        state = network.state_dict()
        network.load_state_dict(state | {key: state[key][order] for key in class_rows(network)})
    return set()
