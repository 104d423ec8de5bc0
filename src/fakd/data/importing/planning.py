"""What a new data set shall have: its classes in their order, and what is trained and validated on."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from fakd.data.held_out import chosen
from fakd.data.importing.annotations import Annotated, Annotations
from fakd.data.pairing import listed
from fakd.data.spec import DataError
from fakd.data.user.masks import Colour, voc_colour
from fakd.types import IGNORE_INDEX

_BACKGROUND = ("background", "_background_")


@dataclass(frozen=True)
class ClassPlan:
    """The classes of the new data set, and what becomes of the source's."""

    names: tuple[str, ...]
    palette: tuple[Colour, ...]
    index: Mapping[str, int]
    """The value of every class of the source, in its order; 255 of a background that is ignored."""
    uncovered: int
    """The value of pixels that no shape covers."""


def plan_classes(found: Annotations, background: str | None = None) -> ClassPlan:
    """Put the background first, then the classes of the source in their order.

    Args:
        found: the source.
        background: the name of the class that is the background, or becomes it; by default one that is called so, or
            a new one where shapes leave pixels over; or "ignore", where such pixels are not to count.

    Raises:
        DataError: there are no classes, or too many, or a name cannot be printed.
    """
    ignored = background == "ignore"
    wanted = _BACKGROUND if background is None or ignored else (background.lower(),)
    theirs = next((name for name in found.classes if name.lower() in wanted), None)
    drawn = any(image.mask is None for image in found.images)
    if theirs is None and background is not None and not ignored and not drawn:
        raise DataError(
            f"no class {background!r} for the background, expected one of {listed(list(found.classes), 20)}."
        )
    first = [] if ignored or not (theirs or drawn) else [theirs or background or _BACKGROUND[0]]
    names = (*first, *(name for name in found.classes if name != theirs))
    if len(names) == len(first):
        raise DataError("no class there but the background, expected one or more that is drawn.")
    if len(names) > IGNORE_INDEX:
        raise DataError(f"{len(names)} classes there, expected {IGNORE_INDEX} at most: masks have 8 bits.")
    if odd := [name for name in names if not name.strip() or not name.isprintable()]:
        raise DataError(f"the class {odd[0]!r} cannot be written on a line. Rename it in the source.")
    given = [found.classes.get(name) for name in names]
    known = [colour for colour in given if colour is not None]
    if len(set(known)) < len(known):  # a colour that stands for two classes is none
        given, known = [None] * len(names), []
    free = (colour for place in range(len(names) + len(known)) if (colour := voc_colour(place)) not in known)
    palette = tuple(next(free) if colour is None else colour for colour in given)
    places = {name: place for place, name in enumerate(names)}
    index = {name: places.get(name, IGNORE_INDEX) for name in found.classes}
    return ClassPlan(names, palette, index, IGNORE_INDEX if ignored else 0)


def with_splits(images: Sequence[Annotated], share: float | None) -> list[Annotated]:
    """The images with a split each: what nothing is said of is for training, and a share of that validates if asked.

    Args:
        images: as they were found.
        share: of the training images that is set aside, chosen by their names; None for none.
    """
    split = [replace(image, split=image.split or "train") for image in images]
    training = [place for place, image in enumerate(split) if image.split == "train"]
    if share is not None and len(training) > 1:
        for place in chosen([split[at].name for at in training], share):
            split[training[place]] = replace(split[training[place]], split="val")
    return split


def require_splits(images: Sequence[Annotated]) -> None:
    """Refuse images that cannot be trained on.

    Raises:
        DataError: nothing is there to validate on, or nothing to train on.
    """
    counts = Counter(image.split for image in images)
    if not counts["train"]:
        raise DataError(f"no images to train on are there, only {', '.join(sorted(counts)) or 'none'}.")
    if not counts["val"]:
        raise DataError(
            "no images to validate on are there. Set aside a fifth, chosen by their names, with --val-share 0.2."
        )
