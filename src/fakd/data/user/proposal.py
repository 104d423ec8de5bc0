"""The file of classes that masks would need, where they hold what the present one does not know."""

from collections.abc import Collection
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from fakd.data.reading import load_mask, one_channel
from fakd.data.user.masks import ClassList, Colour, hex_colour
from fakd.types import IGNORE_INDEX

_MOST = 64
"""New values or colours that can be classes; edges that were smoothed make thousands."""


def stored(path: Path) -> set[int | Colour]:
    """All values of a mask, or all its colours.

    Raises:
        DataError: the file is not readable.
    """
    mask = one_channel(load_mask(path))
    if len(mask.getbands()) == 1:
        return set(np.unique(np.asarray(mask)).tolist())
    return {*map(tuple, np.unique(np.asarray(mask.convert("RGB")).reshape(-1, 3), axis=0).tolist())}


def proposed_classes(classes: ClassList, found: Collection[int | Colour]) -> str | None:
    """Write the file of classes for masks that hold other values or colours.

    As many values as classes are given to them in order; what is new beside those that fit becomes more classes.

    Args:
        classes: what the present file says.
        found: all values and colours of all masks.

    Returns:
        classes.yaml, with names made up for what is new; None where nothing is new, or far too much.
    """
    known = {
        *classes.ignored_values,
        *classes.ignored_colours,
        *(thing for item in classes.classes for thing in (*item.values, *item.colours)),
    }
    entries: list[dict[str, Any]] = [
        {"name": item.name, "value": _short(item.values)} | ({"color": _short(item.colours)} if item.colours else {})
        for item in classes.classes
    ]
    values = sorted(thing for thing in found if isinstance(thing, int))
    counted = [item.values for item in classes.classes] == [(place,) for place in range(len(entries))]
    if counted and len(values) == len(entries) and values != list(range(len(entries))):
        for entry, value in zip(entries, values, strict=True):
            entry["value"] = value
    else:
        new = sorted({*found} - known - {IGNORE_INDEX}, key=str)
        if not 0 < len(new) <= _MOST:
            return None
        free = max(value for item in classes.classes for value in item.values) + 1
        for thing in new:
            if isinstance(thing, int):
                entries.append({"name": f"class {thing}", "value": thing})
            else:
                entries.append({"name": f"class {free}", "value": free, "color": hex_colour(thing)})
                free += 1
    content: dict[str, Any] = {"classes": entries}
    if ignored := [*classes.ignored_values, *map(hex_colour, classes.ignored_colours)]:
        content["ignore"] = ignored
    return yaml.safe_dump(
        content | dict(classes.options), default_flow_style=None, sort_keys=False, allow_unicode=True, width=1000
    )


def _short(things: tuple[Any, ...]) -> Any:
    written = [thing if isinstance(thing, int) else hex_colour(thing) for thing in things]
    return written[0] if len(written) == 1 else written
