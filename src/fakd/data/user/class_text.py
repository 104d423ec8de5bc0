"""Classes written as lines: a name and its colour, or the tables that annotation programs write.

    road 128 64 128          one class a line; the first is value 0 of index masks. A colour may also be
    traffic sign #dcdc00     written as #dcdc00 or (220, 220, 0), and stand before the name
    sky                      without a colour

    0 background             the value first, on every line
    3 person

    road:128,64,128::        labelmap.txt of CVAT

    Pixel Value, Class       _classes.csv of Roboflow; columns may be a value, a name, a colour or r, g and b
    0, background

    name,r,g,b               class_dict.csv, as many data sets on Kaggle have it
    road,128,64,128

Lines that begin with # are comments. What is none of these is refused, with its number.
"""

import csv
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

from fakd.data.plain_yaml import read_short_text
from fakd.data.spec import DataError

_GAP = r"[\s,;:]+"
_COLOUR = r"(?:(?P<hex>#[0-9a-fA-F]{6})|[(\[]?(?P<rgb>\d+[\s,;]+\d+[\s,;]+\d+)[)\]]?)"
_LINES = [
    re.compile(pattern)
    for pattern in (
        r"(?P<name>[^:]+):(?P<rgb>\d+,\d+,\d+):[^:]*:[^:]*",  # CVAT: parts and actions are for other tasks
        rf"(?P<name>.+?){_GAP}{_COLOUR}[\s,;]*",
        rf"{_COLOUR}{_GAP}(?P<name>.+)",
        rf"(?P<value>\d+){_GAP}(?P<name>.+)",
        r"(?P<name>.+)",
    )
]
_COMMENT = re.compile(r"#(?![0-9a-fA-F]{6}\b)")
# What would be a colour or a value, and what belongs to another kind of file.
_NO_NAME = re.compile(r"""\d[\s,;]+\d|^\d+[\s,;]|^- |[:\t="{}\[\]#|<>*]|^[\W\d_]*$""")
_NUMBERED = re.compile(r"(.*\D)[\s,]\d+")

_COLUMNS = {
    "name": ("name", "names", "class", "classes", "class name", "label", "labels", "label name", "category"),
    "value": ("value", "pixel value", "id", "index", "class id", "label id", "class index"),
    "color": ("color", "colour", "hex", "rgb"),
    "r": ("r", "red"),
    "g": ("g", "green"),
    "b": ("b", "blue"),
}
_KINDS = {word: kind for kind, words in _COLUMNS.items() for word in words}


@dataclass(frozen=True)
class Entry:
    """One class as its file says it."""

    where: str
    """The file and the line, for messages."""
    name: str | None
    """None where YAML has null."""
    options: Mapping[str, Any]
    """Its value and its color, as far as they are given."""


def read_entries(path: Path) -> list[Entry]:
    """Read the classes of a text file, in order.

    Raises:
        DataError: it is no text, or a line is none of a class.
    """
    lines = [(number, line.strip()) for number, line in enumerate(read_short_text(path).splitlines(), start=1)]
    lines = [(number, line) for number, line in lines if line and not _COMMENT.match(line)]
    kinds, delimiter = _header(lines[0][1] if lines else "")
    if "name" in kinds:
        return list(_table(path, lines, kinds, delimiter))
    entries = [_entry(f"{path}, line {number}", line) for number, line in lines]
    stems = [found[1] for entry in entries if (found := _NUMBERED.fullmatch(entry.name or ""))]
    if len(entries) > 1 and len(set(stems)) == len(entries):
        refuse(
            entries[0].where,
            f"{entries[0].name!r} ends in a number, as every line does, so it is unclear whether that is the class's "
            "value. If it is, write it first, as `0 road`; if it belongs to the name, write classes.yaml, one "
            "`- NAME` a line",
        )
    return entries


def read_class_names(path: Path) -> tuple[str, ...]:
    """Read names of classes in the order of their indices, from a file as classes.txt.

    Raises:
        FileNotFoundError: there is no such file.
        DataError: it holds no names, or one twice, or values that are not 0, 1, 2 and so on.
    """
    if not path.is_file():
        raise FileNotFoundError(f"no file of class names at {path}")
    entries = read_entries(path)
    ordered = sorted(entries, key=lambda entry: entry.options.get("value", 0))
    values = [entry.options.get("value", place) for place, entry in enumerate(ordered)]
    if values != list(range(len(values))):
        raise DataError(f"{path}: the values are {', '.join(map(str, values))}, expected 0, 1, 2 and so on, each once.")
    names = tuple(str(entry.name) for entry in ordered)
    if not names or len(set(names)) < len(names):
        raise DataError(f"{path}: expected the name of a class on each line, each once.")
    return names


def _entry(where: str, line: str) -> Entry:
    for pattern in _LINES:
        found = pattern.fullmatch(line)
        name = found["name"].strip() if found else ""
        if found and name and not _NO_NAME.search(name):
            parts = found.groupdict()
            colour = parts.get("hex") or ([*map(int, re.findall(r"\d+", parts["rgb"]))] if parts.get("rgb") else None)
            value = {"value": int(parts["value"])} if parts.get("value") else {}
            return Entry(where, name, value | ({"color": colour} if colour else {}))
    raise DataError(
        f"{where}: {line!r} is not understood, expected a name, or a name and its colour, as `road 128 64 128` or "
        "`road #804080`. Names with other characters go into classes.yaml, in quotation marks."
    )


def _header(line: str) -> tuple[list[str | None], str]:
    """What the columns of a table hold, None where that is not known; and what parts them. No columns of a class."""
    delimiter = next((character for character in ",;\t" if character in line), ",")
    kinds = [_KINDS.get(re.sub(r"[\s_]+", " ", cell.strip().casefold())) for cell in line.split(delimiter)]
    return (kinds if "name" in kinds and (len(kinds) == 1 or {"value", "color", "r"} & {*kinds}) else []), delimiter


def _table(path: Path, lines: Sequence[tuple[int, str]], kinds: list[str | None], delimiter: str) -> Iterator[Entry]:
    rows = list(csv.reader((line for _, line in lines), delimiter=delimiter, skipinitialspace=True))
    if None in kinds or len({*kinds}) < len(kinds) or len({"r", "g", "b"} & {*kinds}) not in (0, 3):
        refuse(
            f"{path}, line {lines[0][0]}",
            f"the columns are {', '.join(rows[0])}, expected a name, and a value, a color, or r, g and b, each once. "
            "Delete other columns",
        )
    for (number, line), row in zip(lines[1:], rows[1:], strict=True):
        where = f"{path}, line {number}"
        cells = dict(zip(kinds, map(str.strip, row), strict=False))
        numbers = [cells[kind] for kind in ("value", "r", "g", "b") if kind in cells]
        if len(row) != len(kinds) or not all(re.fullmatch(r"\d+", cell) for cell in numbers):
            refuse(where, f"{line!r} does not fit the columns {', '.join(rows[0])} of the first line")
        options: dict[str, Any] = {"value": int(cells["value"])} if "value" in cells else {}
        if "r" in cells:
            options["color"] = [int(cells[kind]) for kind in ("r", "g", "b")]
        elif "color" in cells:
            found = [int(part) for part in re.findall(r"\d+", cells["color"])]
            options["color"] = cells["color"] if cells["color"].startswith("#") else found
        yield Entry(where, cells["name"], options)


def refuse(where: str | Path, reason: str) -> NoReturn:
    """Say what is wrong where in a file of classes."""
    raise DataError(f"{where}: {reason}.")
