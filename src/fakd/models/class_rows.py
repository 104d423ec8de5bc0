"""The weights that a network has for each class, where another starts from them."""

import json
from collections.abc import Mapping
from dataclasses import replace

import torch

from fakd.console import say
from fakd.data.class_names import Classes, class_order, names_in
from fakd.models.network import Network, built, without_weights


def class_rows(network: Network) -> set[str]:
    """Names of the entries of its state_dict that have a row for each class: classifiers' weights and biases."""
    other = without_weights(replace(network.config, num_classes=network.num_classes + 1)).state_dict()
    return {name for name, tensor in network.state_dict().items() if other[name].shape != tensor.shape}


def as_two_classes(name: str, network: Network, notes: Mapping[str, str]) -> tuple[Network, dict[str, str]]:
    """Read a network of one score, as a sigmoid trains it, as one of two classes, background and the class.

    The score of the background is 0, so that the softmax of both is the sigmoid: softmax((0, z)) = (1 - s(z), s(z)).

    Args:
        name: the network's, for messages.
        network: of one class.
        notes: what its file says of it.

    Returns:
        The network of two classes in eval mode, and what its file would say.
    """
    state, rows = network.state_dict(), class_rows(network)
    two = built(replace(network.config, num_classes=2))
    two.load_state_dict(
        {key: torch.cat([torch.zeros_like(one), one]) if key in rows else one for key, one in state.items()}
    )
    names = names_in(notes, 1)
    told = {key: value for key, value in notes.items() if key not in ("classes", "palette")}
    say(f"classes   {name} gives one score, read as those of two: background, and {names[0] if names else 'its class'}")
    two.notes = told | ({"classes": json.dumps(["background", *names])} if names else {})
    return two.eval(), dict(two.notes)


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
