"""The classes of a user's own data set, as classes.txt or classes.yaml say.

classes.txt has one class a line, and its colour if masks are coloured. The first line is value 0 of index masks:

    road 128 64 128
    traffic sign #dcdc00

classes.yaml can say more; all but `classes` may be left out:

    classes:
      - road                                  # without a colour; value 0, as it is the first
      - traffic sign: "#dcdc00"               # a colour, in quotation marks; or [220, 220, 0]
      - {name: car, value: 13, color: "#00008e"}
      - {name: train, value: [16, 17]}        # several values, or several colours, are one class
    merge: {vehicle: [car, train]}            # several classes become one, at the place of the first
    ignore: [0, "#000000"]                    # values and colours that are not scored; value 255 never is
    masks: color                              # what counts where pixels have both: index or color
    image_suffix: _photo                      # what names end in beyond their partner's: x_photo.jpg ...
    mask_suffix: _gt                          # ... with x_gt.png; found automatically where it is plain
    base_size: [512, 1024]                    # height and width that images are fitted into
    crop_size: [512, 512]                     # height and width of training crops

`classes` may also be a mapping from name to colour, value, or both. Where one class has a `value` all must have one;
otherwise values count from 0.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NoReturn

import yaml

from fakd.data.plain_yaml import read_short_text, read_yaml
from fakd.data.spec import DataError
from fakd.data.user.masks import ClassList, Colour, UserClass
from fakd.files.atomic import written_at_once
from fakd.types import IGNORE_INDEX

FILES = ("classes.yaml", "classes.txt")
"""Where classes are read, in the root of the data set."""

_LARGEST_VALUE = 65535  # of a 16-bit mask
_OPTIONS = {"classes", "merge", "ignore", "masks", "image_suffix", "mask_suffix", "base_size", "crop_size"}
_CLASS_OPTIONS = {"name", "value", "color", "colour"}
_LINE = re.compile(r"(?P<name>.*?\S)[\s,;:]+(?:(?P<hex>#[0-9a-fA-F]{6})|(?P<rgb>\d+[\s,;]+\d+[\s,;]+\d+))")


def read_class_list(root: Path) -> ClassList:
    """Read classes.yaml or classes.txt of a data set.

    Raises:
        DataError: There is no such file or there are both, or what it says makes no sense.
    """
    found = [root / name for name in FILES if (root / name).is_file()]
    if not found:
        raise DataError(
            f"{root}: no classes.txt and no classes.yaml, expected one of them. Write classes.txt with one class a "
            'line: the name, and its colour if masks are coloured, as "road 128 64 128". The first line is value 0.'
        )
    if len(found) > 1:
        raise DataError(f"{root}: both {' and '.join(FILES)} are there, expected one of them. Delete one.")
    path = found[0]
    return _class_list(path, read_yaml(path) if path.suffix == ".yaml" else {"classes": list(_lines(path))})


def write_class_list(root: Path, classes: Sequence[str], palette: Sequence[Colour]) -> None:
    """Write classes.yaml for index masks whose values are the classes' places; colours only where no two are the same.

    Args:
        root: of the data set.
        classes: their names.
        palette: one colour a class.
    """
    told = len(set(palette)) == len(palette)
    entries = [
        {"name": name, **({"color": "#{:02x}{:02x}{:02x}".format(*colour)} if told else {})}
        for name, colour in zip(classes, palette, strict=True)
    ]
    with written_at_once(root / FILES[0]) as temporary:
        text = yaml.safe_dump({"masks": "index", "classes": entries}, sort_keys=False, allow_unicode=True)
        temporary.write_text(text, encoding="utf-8")


def _lines(path: Path) -> Iterator[dict[str, Any]]:
    for line in filter(None, map(str.strip, read_short_text(path).splitlines())):
        if found := _LINE.fullmatch(line):
            rgb = found["hex"] or [int(part) for part in re.findall(r"\d+", found["rgb"])]
            yield {"name": found["name"], "color": rgb}
        else:
            yield {"name": line}


def _class_list(path: Path, given: Any) -> ClassList:
    if isinstance(given, list):
        given = {"classes": given}
    if not isinstance(given, dict) or not isinstance(given.get("classes"), (list, dict)) or not given["classes"]:
        _refuse(path, "no classes in it. Write one name a line; in YAML a list of them under the key `classes`")
    if unknown := [str(key) for key in given if key not in _OPTIONS]:
        _refuse(path, f"unknown key {', '.join(unknown)}, expected {', '.join(sorted(_OPTIONS))}")
    entries = list(_entries(path, given["classes"]))
    if len({"value" in entry for _, entry in entries}) > 1:
        without = [name for name, entry in entries if "value" not in entry]
        _refuse(path, f"no value for {', '.join(without)}, though other classes have one. Give all or none of them")
    classes = [_class(path, name, {"value": place, **entry}) for place, (name, entry) in enumerate(entries)]
    ignored = _as_list(given.get("ignore"))
    result = ClassList(
        path,
        _merged(path, classes, given.get("merge") or {}),
        tuple(_value(path, "ignore", item) for item in ignored if isinstance(item, int)),
        tuple(_colour(path, "ignore", item) for item in ignored if not isinstance(item, int)),
        {key: given[key] for key in given if key not in ("classes", "merge", "ignore") and given[key] is not None},
    )
    _require_sense(path, result)
    return result


def _entries(path: Path, classes: Sequence[Any] | Mapping[Any, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    """Give the name and the options of every class, however they are written."""
    options: Any
    for item in classes.items() if isinstance(classes, Mapping) else classes:
        match item:
            case {"name": name, **options} | (name, options):
                pass
            case dict() if len(item) == 1:
                ((name, options),) = item.items()
            case _:
                name, options = item, None
        if not isinstance(name, str) or not name.strip():
            _refuse(path, f"{name!r} is no name of a class. Put names that YAML takes for something else in quotes")
        if not name.strip().isprintable():  # a terminal would obey it
            _refuse(path, f"the name {name!r} has characters that cannot be printed. Leave them out")
        match options:
            case dict() | None:
                options = options or {}
            case int():
                options = {"value": options}
            case _:
                options = {"color": options}
        if unknown := [str(key) for key in options if key not in _CLASS_OPTIONS]:
            _refuse(path, f"class {name!r} has the unknown key {', '.join(unknown)}, expected value or color")
        yield name.strip(), options


def _class(path: Path, name: str, entry: Mapping[str, Any]) -> UserClass:
    colours: list[Any] = []
    for given in (entry[key] for key in ("color", "colour") if key in entry):
        if given is None:
            _refuse(path, f'class {name!r} has an empty colour. In YAML "#804080" needs quotation marks')
        several = isinstance(given, list) and given and not isinstance(given[0], int)
        colours += given if several else [given]
    if not (values := _as_list(entry["value"])):
        _refuse(path, f"class {name!r} has no value. Give it one, or leave all values out")
    return UserClass(
        name,
        tuple(_value(path, f"class {name!r}", value) for value in values),
        tuple(_colour(path, f"class {name!r}", colour) for colour in colours),
    )


def _merged(path: Path, classes: Sequence[UserClass], merge: Any) -> tuple[UserClass, ...]:
    names = [item.name for item in classes]
    if twice := {name for name in names if names.count(name) > 1}:
        _refuse(path, f"class {', '.join(sorted(twice))} occurs more than once. Name it once")
    if not isinstance(merge, dict) or not all(isinstance(parts, list) and parts for parts in merge.values()):
        _refuse(path, "merge is expected to name new classes and their parts, as {vehicle: [car, bus]}")
    parts = [part for new in merge.values() for part in new]
    if unknown := [str(part) for part in parts if part not in names]:
        _refuse(path, f"merge names {', '.join(unknown)}, expected only classes of the list")
    if twice := {part for part in parts if parts.count(part) > 1}:
        _refuse(path, f"merge names {', '.join(sorted(twice))} more than once")
    whole = {part: str(new) for new, old in merge.items() for part in old}
    groups: dict[str, list[UserClass]] = {}
    for item in classes:
        groups.setdefault(whole.get(item.name, item.name), []).append(item)
    if clash := [new for new in map(str, merge) if new in names and new not in merge.get(new, [])]:
        _refuse(path, f"merge makes {', '.join(clash)}, but there is a class of that name already")
    return tuple(
        UserClass(
            name,
            tuple(value for part in group for value in part.values),
            tuple(colour for part in group for colour in part.colours),
        )
        for name, group in groups.items()
    )


def _require_sense(path: Path, found: ClassList) -> None:
    if len(found.classes) > IGNORE_INDEX:
        _refuse(path, f"{len(found.classes)} classes, expected {IGNORE_INDEX} at most")
    owners: dict[int | Colour, str] = {}
    for item in [*found.classes, UserClass("the key `ignore`", found.ignored_values, found.ignored_colours)]:
        things: tuple[int | Colour, ...] = (*item.values, *item.colours)
        for thing in things:
            if owners.setdefault(thing, item.name) != item.name:
                kind = "value" if isinstance(thing, int) else "colour"
                _refuse(path, f"{kind} {thing} stands for {owners[thing]} and for {item.name}. Each needs its own")
    if found.options.get("masks", "index") not in ("index", "color"):
        _refuse(path, f"masks is {found.options['masks']!r}, expected index or color")
    for key in ("base_size", "crop_size"):
        size = found.options.get(key)
        if size is not None and not (isinstance(size, list) and [*map(type, size)] == [int, int] and min(size) > 0):
            _refuse(path, f"{key} is {size!r}, expected height and width in pixels, as [512, 1024]")
    for key in ("image_suffix", "mask_suffix"):
        if not isinstance(found.options.get(key, ""), str):
            _refuse(path, f"{key} is {found.options[key]!r}, expected text in quotation marks")


def _value(path: Path, owner: str, value: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= _LARGEST_VALUE:
        _refuse(path, f"{owner}: value {value!r}, expected a whole number from 0 to {_LARGEST_VALUE}")
    return value


def _colour(path: Path, owner: str, colour: Any) -> Colour:
    if isinstance(colour, str) and re.fullmatch("#[0-9a-fA-F]{6}", colour):
        colour = list(bytes.fromhex(colour[1:]))
    channels = colour if isinstance(colour, list) else []
    if len(channels) != 3 or not all(type(part) is int and 0 <= part <= 255 for part in channels):
        _refuse(path, f'{owner}: colour {colour!r}, expected three numbers from 0 to 255 or as "#804080"')
    return channels[0], channels[1], channels[2]


def _as_list(given: Any) -> list[Any]:
    return [] if given is None else given if isinstance(given, list) else [given]


def _refuse(path: Path, reason: str) -> NoReturn:
    raise DataError(f"{path}: {reason}.")
