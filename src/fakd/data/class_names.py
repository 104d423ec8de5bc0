"""Two lists of classes where they meet, as a network's and a data set's: the same, in another order, or others."""

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from fakd.console import say
from fakd.data import DATASETS
from fakd.data.pairing import listed
from fakd.data.spec import DatasetSpec, check_num_classes

_SHOWN = 8
_NO_NAME = re.compile(r"(class|label)[ _]?\d+", re.IGNORECASE)
"""What stands for names that nobody gave."""
_BACKGROUND = ("background", "other", "unlabeled", "unlabelled", "void")
"""What a class is called that stands for no class, as they are compared."""
_HIDDEN = ("background", "ignore", "ignored", "unlabeled", "unlabelled", "void")
"""And one that pictures need no colour of."""


@dataclass(frozen=True)
class Classes:
    """The classes that a network scores, or that a data set has."""

    count: int
    names: tuple[str, ...] | None = None
    """None where they are not known."""
    dataset: str | None = None
    """Data set that they are of, as far as is known."""
    published: bool = False
    """Whether others publish networks for that data set, who may write its names in another way."""
    reduced: bool = False
    """Whether label 0 was left out of a network's training, and all others reduced by one."""

    @classmethod
    def of_network(cls, count: int, notes: Mapping[str, str]) -> "Classes":
        """What the file of a network that scores so many classes says of them."""
        spec = DATASETS.get(notes.get("dataset", ""))
        published = spec is not None and bool(spec.counts)
        reduced = notes.get("reduce_labels") == "true"
        return cls(count, names_in(notes, count), notes.get("dataset"), published, reduced)

    @classmethod
    def of_dataset(cls, spec: DatasetSpec) -> "Classes":
        """The classes of a data set."""
        return cls(spec.num_classes, spec.classes, spec.name, published=bool(spec.counts))


def names_in(notes: Mapping[str, str], count: int) -> tuple[str, ...] | None:
    """Return the names of so many classes in what a network's file says; None where it names none.

    Example:
        >>> names_in({"classes": '["road", "sky"]'}, 2), names_in({"classes": '["LABEL_0", "LABEL_1"]'}, 2)
        (('road', 'sky'), None)
    """
    try:
        told = json.loads(notes.get("classes", "null"))
    except (ValueError, RecursionError):
        return None
    if not isinstance(told, list) or len(told) != count or not all(isinstance(name, str) for name in told):
        return None
    return None if all(_NO_NAME.fullmatch(name) for name in told) else tuple(told)


def class_order(network: object, theirs: Classes, other: object, ours: Classes, advice: str = "") -> list[int] | None:
    """Compare a network's classes with those that it is to score, by their names where both are known.

    Names are compared without regard to case, spaces, hyphens and underscores. Another order is said in one line. Of a
    published data set, which its users write in several ways ("sidewalk" and "sidewalk, pavement", "tvmonitor" and
    "tv"), half of the names at their own places are enough, as long as no two others have changed places.

    Args:
        network: its name, for messages.
        theirs: its classes.
        other: what it must fit, as the name of a data set, for messages.
        ours: the classes of that.
        advice: what to do where they do not fit, as sentences.

    Returns:
        For each of our classes the index of theirs; None where both have the same order, or names are not known.

    Raises:
        ValueError: they are as many as ours, but others, or not as many.

    Example:
        >>> ours = Classes(3, ("traffic light", "Road", "sky"))
        >>> class_order("network.onnx", Classes(3, ("sky", "road", "traffic_light")), "folder", ours)
        classes   network.onnx has those of folder in another order, which is taken into account
        [2, 1, 0]
    """
    check_num_classes(network, theirs.count, other, ours.count, advice)
    if theirs.names is None or ours.names is None:
        if theirs.reduced and ours.names is not None and plain_name(ours.names[0]) in _BACKGROUND:
            raise ValueError(
                f"{network} was trained without label 0, the others reduced by one, as do_reduce_labels in its "
                f"preprocessor_config.json says; but class 0 of {other} is {ours.names[0]!r}. {advice}".rstrip()
            )
        return None
    found, expected = comparable(theirs.names, ours.names)
    if found == expected:
        return None
    if sorted(found) == sorted(expected):
        say(f"classes   {network} has those of {other} in another order, which is taken into account")
        return [found.index(name) for name in expected]
    if ours.published and theirs.dataset == ours.dataset:
        return None
    pairs = list(zip(theirs.names, ours.names, strict=True))
    differing = [place for place, pair in enumerate(pairs) if not _meanings(pair[0]) & _meanings(pair[1])]
    swapped = {found[place] for place in differing} & {expected[place] for place in differing}
    if ours.published and not swapped and 2 * len(differing) <= len(pairs):
        if differing:
            others = [f"{pairs[place][0]!r} for {pairs[place][1]!r}" for place in differing]
            say(f"classes   {network} is taken to have those of {other}, some by other names: {listed(others, _SHOWN)}")
        return None
    strange = [name for name, plain in zip(theirs.names, found, strict=True) if plain not in expected]
    missing = [name for name, plain in zip(ours.names, expected, strict=True) if plain not in found]
    raise ValueError(
        f"{network} scores {theirs.count} classes, as {other} has, but others: {listed(strange, _SHOWN)} in place of "
        f"{listed(missing, _SHOWN)}. {advice}".rstrip()
    )


def notes_of_dataset(
    network: str, count: int, notes: Mapping[str, str], spec: DatasetSpec, base_size: tuple[int, int] | None
) -> dict[str, str]:
    """Return what a network's file is to say of a data set that is named for it, in the order of its own classes.

    Args:
        network: its name, for messages.
        count: of the classes that it scores.
        notes: what its file says so far.
        spec: of the data set.
        base_size: (height, width) that the network's images were fitted into; None is the data set's own.

    Raises:
        ValueError: it has other classes than the data set.
    """
    advice = "Leave out --dataset to keep what the network says of its classes, or name the data set that it is for."
    theirs = Classes.of_network(count, notes)
    order = class_order(network, theirs, spec.name, Classes.of_dataset(spec), advice)
    if order is not None:
        places = [order.index(index) for index in range(count)]
        names, colours = [spec.classes[place] for place in places], [spec.palette[place] for place in places]
        spec = replace(spec, classes=tuple(names), palette=tuple(colours))
    return spec.notes(base_size)


def comparable(theirs: Sequence[str], ours: Sequence[str]) -> tuple[list[str], list[str]]:
    """Two lists of names as they are compared; as they are where that would make two classes of one list equal."""
    plain = [list(map(plain_name, names)) for names in (theirs, ours)]
    if any(len(set(names)) < len(names) for names in plain):
        plain = [list(theirs), list(ours)]
    return plain[0], plain[1]


def _meanings(name: str) -> set[str]:
    """The words that a list of ADE20K's classes gives for one, as "sidewalk, pavement", as they are compared."""
    return {plain_name(word) for word in re.split("[,;/]", name)}


def plain_name(name: str) -> str:
    """The name of a class as it is compared with another."""
    return re.sub(r"[\s_-]+", "", name.casefold())


def hidden_classes(hide: str | Sequence[str] | None, classes: Sequence[str]) -> tuple[int, ...]:
    """Return the classes that pictures show no colour of, so that the image is seen there.

    Args:
        hide: their names, as a list or with commas in between, or "none"; None is the background, by its name.
        classes: of the network or the data set, in order.

    Raises:
        ValueError: there is no class of that name.

    Example:
        >>> hidden_classes(None, ("Background", "cell")), hidden_classes("cell", ("background", "cell"))
        ((0,), (1,))
    """
    if hide is None:
        return tuple(index for index, name in enumerate(classes) if plain_name(name) in _HIDDEN)
    names = [name.strip() for name in hide.split(",")] if isinstance(hide, str) else list(hide)
    if names == ["none"]:
        return ()
    if unknown := [name for name in names if name not in classes]:
        raise ValueError(
            f"hide has {', '.join(unknown)}, and the classes are {', '.join(classes)}; --hide none shows them all."
        )
    return tuple(index for index, name in enumerate(classes) if name in names)
