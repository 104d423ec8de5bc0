"""What a file of weights says beside them, which anybody may have written."""

import json
from collections.abc import Mapping
from typing import Any

from fakd.data import DATASETS
from fakd.data.palette import Palette
from fakd.data.reading import MOST_PIXELS
from fakd.data.spec import SlidingWindow


def base_size_in(notes: Mapping[str, str], name: str) -> tuple[int, int] | None:
    """Return the height and width that images were fitted into, where the file says it.

    Args:
        notes: as `fakd.models.open_model` returns them.
        name: the network's, for the error.

    Raises:
        ValueError: it says something else.
    """
    match _read(notes, "base_size", name):
        case None:
            return None
        case [int(height), int(width)] if min(height, width) > 0 and height * width <= MOST_PIXELS:
            return height, width
        case wrong:
            raise ValueError(f"{name}: its base_size is {str(wrong)[:80]}, expected height and width in pixels.")


def palette_in(notes: Mapping[str, str], name: str, num_classes: int) -> Palette:
    """Return the colours of the classes, or shades of grey where the file says none.

    Args:
        notes: as `fakd.models.open_model` returns them.
        name: the network's, for the error.
        num_classes: that it scores.

    Raises:
        ValueError: it says something else.
    """
    match _read(notes, "palette", name):
        case None:
            shades = [round(255 * (index + 1) / num_classes) for index in range(num_classes)]
            return [(shade, shade, shade) for shade in shades]
        case [*colours] if len(colours) == num_classes and all(map(_is_colour, colours)):
            return [(red, green, blue) for red, green, blue in colours]
        case wrong:
            raise ValueError(
                f"{name}: its palette is {str(wrong)[:80]}, expected three numbers from 0 to 255 for each of its "
                f"{num_classes} classes."
            )


def classes_in(notes: Mapping[str, str], name: str, num_classes: int) -> tuple[str, ...]:
    """Return the names of the classes, or "class 0" and so on where the file says none.

    Args:
        notes: as `fakd.models.open_model` returns them.
        name: the network's, for the error.
        num_classes: that it scores.

    Raises:
        ValueError: it says something else.
    """
    match _read(notes, "classes", name):
        case None:
            return tuple(f"class {index}" for index in range(num_classes))
        case [*classes] if len(classes) == num_classes and all(isinstance(one, str) for one in classes):
            return tuple(classes)
        case wrong:
            raise ValueError(
                f"{name}: its classes are {str(wrong)[:80]}, expected a name for each of its {num_classes} classes."
            )


def window_in(notes: Mapping[str, str]) -> SlidingWindow | None:
    """Return that of the data set the network was trained on, where its file says which and its classes are fixed."""
    spec = DATASETS.get(notes.get("dataset", ""))
    return None if spec is None else spec.window


def _is_colour(given: Any) -> bool:
    return isinstance(given, list) and len(given) == 3 and all(type(part) is int and 0 <= part <= 255 for part in given)


def _read(notes: Mapping[str, str], key: str, name: str) -> Any:
    try:
        return json.loads(notes[key]) if key in notes else None
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{name}: its {key} is no JSON, but {notes[key][:80]!r}.") from error
