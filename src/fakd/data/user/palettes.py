"""Palettes of masks that contradict each other: the sign of a program that counted each mask's colours anew."""

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from fakd.data.reading import load_mask
from fakd.data.user.masks import Colour


@dataclass(frozen=True)
class Shown:
    """How a mask with a palette is shown."""

    values: tuple[int, ...]
    """That it has."""
    colours: tuple[Colour, ...]
    """Of every value, whether it has it or not."""


def shown(path: Path) -> Shown | None:
    """Read the palette of a mask; None where it has none.

    Raises:
        DataError: the file is not readable.
    """
    mask = load_mask(path)
    if mask.mode != "P" or (palette := mask.getpalette("RGB")) is None:
        return None
    colours = tuple(zip(palette[::3], palette[1::3], palette[2::3], strict=True))
    return Shown(
        tuple(value for value, count in enumerate(mask.histogram()) if count and value < len(colours)), colours
    )


def palette_faults(masks: Mapping[Path, Shown]) -> dict[Path, str]:
    """Find the masks in which a value has another colour than in most, or a colour another value.

    Args:
        masks: what `shown` gave, by path.

    Returns:
        One message for each of those masks, without its path.
    """
    having: dict[tuple[int, Colour], list[Path]] = defaultdict(list)
    for path, mask in masks.items():
        for value in mask.values:
            having[value, mask.colours[value]].append(path)
    usual = sorted(having, key=lambda pair: -len(having[pair]))
    colour_of = dict(reversed(usual))
    value_of = {colour: value for value, colour in reversed(usual)}
    faults = {}
    for path, mask in masks.items():
        for value in mask.values:
            colour = mask.colours[value]
            other = value_of[colour]
            if colour != colour_of[value]:
                example = having[value, colour_of[value]][0]
                said = f"value {value} is shown in {colour}, but in {colour_of[value]} in {example}"
            elif other != value and mask.colours[other : other + 1] != (colour,):  # or both are always shown alike
                said = f"the colour {colour} is value {value}, but value {other} in {having[other, colour][0]}"
            else:
                continue
            faults[path] = (
                f"{said}, so the masks' palettes differ. If the colours are right, give each class its own in "
                "classes.yaml, with `masks: color`; if the values are, write `masks: index`."
            )
            break
    return faults
