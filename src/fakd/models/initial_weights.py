"""Starting a network from the weights of another."""

from collections.abc import Collection

from fakd.console import say
from fakd.models.network import Network
from fakd.models.weights_file import listed, mismatches


def start_from(name: str, source: Network, model: Network, left: Collection[str] = ()) -> None:
    """Give a network all that fits of another's weights, and say what was taken and what was left.

    What depends on the number of classes stays random where the two differ in it, and an auxiliary head where only one
    has it. All else must fit.

    Args:
        name: what the source is called.
        source: whose weights to take.
        model: the network that is changed; its architecture must be the same but for strides, classes and dropout.
        left: entries that are of other classes, though of as many.

    Raises:
        ValueError: entries do not fit; the message lists them.
    """
    own, found = model.state_dict(), source.state_dict()
    by_class = [
        key
        for key in own.keys() & found.keys()
        if key in left
        or (
            own[key].shape != found[key].shape
            and (own[key].shape[:1], found[key].shape[:1]) == ((model.num_classes,), (source.num_classes,))
            and own[key].shape[1:] == found[key].shape[1:]
        )
    ]
    aux = (_aux_entries(model) - found.keys()) | (_aux_entries(source) - own.keys())
    apart = {*by_class, *aux}
    needed, given = ({key: state[key] for key in state if key not in apart} for state in (own, found))
    if problems := mismatches(needed, given):
        raise ValueError(f"the weights of {name} do not fit {model.config}:{listed(problems)}")
    model.load_state_dict(own | given)
    rest = []
    if by_class:
        what = ", ".join(sorted({key.rpartition(".")[0] for key in by_class}))
        counts = f"{source.num_classes} classes there, {model.num_classes} here"
        rest.append(f"{what} starts random ({'other classes' if left else counts})")
    if aux:
        rest.append("its auxiliary head is left there" if aux & found.keys() else "the auxiliary head starts random")
    say(f"weights   {len(given)} of {len(own)} entries from {name}{'; ' if rest else ''}{'; '.join(rest)}")


def _aux_entries(network: Network) -> set[str]:
    if network.aux_head is None:
        return set()
    theirs = {id(tensor) for tensor in network.aux_head.state_dict(keep_vars=True).values()}
    return {name for name, tensor in network.state_dict(keep_vars=True).items() if id(tensor) in theirs}
