"""The classes of a user's own data set, as classes.yaml or classes.txt say; docs/classes.md shows all of it.

    classes:
      - road                                  # without a colour; value 0, as it is the first
      - traffic sign: "#dcdc00"               # a colour, in quotation marks; or [220, 220, 0]
      - {name: car, value: 13, color: "#00008e"}
      - {name: train, value: [16, 17]}        # several values, or several colours, are one class
    merge: {vehicle: [car, train]}            # several classes become one, at the place of the first
    ignore: [sky, 0, "#000000"]               # classes, values and colours that are not scored; value 255 never is
    masks: color                              # what counts where pixels have both: index or color
    image_suffix: _photo                      # what names end in beyond their partner's: x_photo.jpg ...
    mask_suffix: _gt                          # ... with x_gt.png; found automatically where it is plain
    base_size: [512, 1024]                    # height and width that images are fitted into
    crop_size: [512, 512]                     # height and width of training crops

All but `classes` may be left out. It may also be a mapping from name to colour, value, or both. Where one class has a
`value` all must have one; otherwise values count from 0. `null` in place of a name, with `ignore: [null]`, keeps the
place of a value that is no class. Text files are read by `fakd.data.user.class_text`.
"""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from fakd.data.plain_yaml import line_numbers, read_yaml
from fakd.data.spec import DataError
from fakd.data.user.class_rules import Options, class_list
from fakd.data.user.class_text import Entry, read_entries, refuse
from fakd.data.user.masks import ClassList, Colour, hex_colour
from fakd.files.atomic import write_text

FILES = ("classes.yaml", "classes.yml", "classes.txt")
"""Where classes are read, in the root of the data set."""
FOREIGN_FILES = ("labelmap.txt", "_classes.csv", "class_dict.csv")
"""Where they are read if none of those is there: what CVAT and Roboflow write, and many data sets on Kaggle have."""

_OPTIONS = {"classes", "merge", "ignore", "masks", "image_suffix", "mask_suffix", "base_size", "crop_size"}
_CLASS_OPTIONS = {"name", "value", "color", "colour"}


def read_class_list(root: Path) -> ClassList:
    """Read the file of classes of a data set, one of `FILES` or of `FOREIGN_FILES`.

    Raises:
        DataError: There is no such file or there are several, or what it says makes no sense; the message has the line.
    """
    places = [[root / name for name in names if (root / name).is_file()] for names in (FILES, FOREIGN_FILES)]
    found = next(filter(None, places), [])
    if not found:
        raise DataError(
            f"{root}: no classes.txt and no classes.yaml, expected one of them. Write classes.txt with one class a "
            'line: the name, and its colour if masks are coloured, as "road 128 64 128". The first line is value 0.'
        )
    if len(found) > 1:
        raise DataError(
            f"{root}: {' and '.join(path.name for path in found)} are there, expected one of them. Delete all but one."
        )
    path = found[0]
    return _from_yaml(path) if path.suffix in (".yaml", ".yml") else class_list(read_entries(path), Options(path))


def write_class_list(root: Path, classes: Sequence[str], palette: Sequence[Colour]) -> None:
    """Write classes.yaml for index masks whose values are the classes' places; colours only where no two are the same.

    Args:
        root: of the data set.
        classes: their names.
        palette: one colour a class.
    """
    distinct = len(set(palette)) == len(palette)
    entries = [
        {"name": name, **({"color": hex_colour(colour)} if distinct else {})}
        for name, colour in zip(classes, palette, strict=True)
    ]
    told = {"masks": "index", "classes": entries}
    write_text(root / FILES[0], yaml.safe_dump(told, sort_keys=False, allow_unicode=True))


def _from_yaml(path: Path) -> ClassList:
    given, lines = read_yaml(path), line_numbers(path)
    if isinstance(given, list):
        given, lines = {"classes": given}, {"classes": lines[""]}
    if not isinstance(given, dict) or not isinstance(given.get("classes"), (list, dict)):
        refuse(path, "no classes in it. Write a list of them under the key `classes`, one `- NAME` a line")
    options = Options(path, {key: value for key, value in given.items() if value is not None}, lines)
    if unknown := [str(key) for key in given if key not in _OPTIONS]:
        refuse(options.where(unknown[0]), f"unknown key {', '.join(unknown)}, expected {', '.join(sorted(_OPTIONS))}")
    return class_list(list(_entries(path, given["classes"], lines["classes"])), options)


def _entries(path: Path, classes: Sequence[Any] | Mapping[Any, Any], lines: Sequence[int]) -> Iterator[Entry]:
    """Give the name and the options of every class, however they are written."""
    options: Any
    first, *below = lines
    if len(below) != len(classes):  # with `<<` a mapping has more than stands in it
        below = [first] * len(classes)
    for item, line in zip(classes.items() if isinstance(classes, Mapping) else classes, below, strict=True):
        match item:
            case {"name": name, **options} | (name, options):
                pass
            case dict() if len(item) == 1:
                ((name, options),) = item.items()
            case _:
                name, options = item, None
        match options:
            case dict() | None:
                options = options or {}
            case int():
                options = {"value": options}
            case _:
                options = {"color": options}
        where = f"{path}, line {line}"
        if unknown := [str(key) for key in options if key not in _CLASS_OPTIONS]:
            refuse(where, f"class {name!r} has the unknown key {', '.join(unknown)}, expected value or color")
        yield Entry(where, name.strip() if isinstance(name, str) else name, options)
