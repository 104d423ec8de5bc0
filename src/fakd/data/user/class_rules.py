"""What the entries of a file of classes mean together: values, colours, what is merged and what is not scored."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from fakd.data.user.class_text import Entry, refuse
from fakd.data.user.masks import ClassList, Colour, UserClass
from fakd.types import IGNORE_INDEX

_LARGEST_VALUE = 65535  # of a 16-bit mask
_TOO_FEW = (
    "{count} class, expected two or more: pixels that are no {name} need a class too. Write background on the first "
    "line, the value 0 of the masks, and {name} on the second; for masks of 0 and 255 write classes.yaml with "
    "`classes: {{background: 0, {name}: 255}}`"
)


@dataclass(frozen=True)
class Options:
    """What a YAML file says beside its classes, null left out, and where."""

    path: Path
    given: Mapping[str, Any] = field(default_factory=dict)
    lines: Mapping[str, Sequence[int]] = field(default_factory=dict)

    def where(self, key: str) -> str:
        """The file, and the line of a key."""
        return f"{self.path}, line {self.lines[key][0]}" if key in self.lines else str(self.path)


def class_list(entries: Sequence[Entry], options: Options) -> ClassList:
    """Give every class its values and colours.

    Raises:
        DataError: they make no sense; the message has the line.
    """
    if not entries:
        refuse(options.path, "no classes in it. Write one a line")
    given, where = options.given, options.where("ignore")
    ignored = _as_list(given.get("ignore"))
    _check_entries(entries, may_be_null=None in ignored)
    classes = [_class(entry, place) for place, entry in enumerate(entries)]
    _check_owners(entries, classes)
    scored, left_out = (
        [item for entry, item in zip(entries, classes, strict=True) if (entry.name in ignored) == out]
        for out in (False, True)
    )
    others = [item for item in ignored if item not in [entry.name for entry in entries]]
    values = [_value(where, "ignore", item) for item in others if isinstance(item, int)]
    colours = [_ignored_colour(where, item) for item in others if not isinstance(item, int)]
    for item in classes:
        if twice := ({*values} & {*item.values}) | ({*colours} & {*item.colours}):
            refuse(
                where, f"{twice.pop()} stands for {item.name}. To leave that class out, write `ignore: [{item.name}]`"
            )
    scored = _merged(scored, options)
    if len(scored) < 2:
        refuse(options.path, _TOO_FEW.format(count=len(scored), name=scored[0].name if scored else "object"))
    if len(scored) > IGNORE_INDEX:
        refuse(options.path, f"{len(scored)} classes, expected {IGNORE_INDEX} at most")
    _check_options(options)
    return ClassList(
        options.path,
        tuple(scored),
        tuple(values + [value for item in left_out for value in item.values]),
        tuple(colours + [colour for item in left_out for colour in item.colours]),
        {key: given[key] for key in given if key not in ("classes", "merge", "ignore")},
    )


def _check_entries(entries: Sequence[Entry], may_be_null: bool) -> None:
    lines: dict[str, str] = {}
    for entry in entries:
        name, where = entry.name, entry.where
        if name is None and not may_be_null:
            refuse(
                where,
                'YAML reads null, ~ and nothing as no name. For a class of that name write "null", in quotation marks; '
                "to leave out what has this value in the masks, write `ignore: [null]` below the classes",
            )
        if name is not None and (not isinstance(name, str) or not name):
            refuse(where, f"{name!r} is no name of a class. Put names that YAML takes for something else in quotes")
        if name is not None and not name.isprintable():  # a terminal would obey it
            refuse(where, f"the name {name!r} has characters that cannot be printed. Leave them out")
        if name is not None and lines.setdefault(name, where) != where:
            refuse(where, f"class {name} occurs more than once. Name it once")
        if ("value" in entry.options) != ("value" in entries[0].options):
            without, other = sorted((entries[0], entry), key=lambda one: "value" in one.options)
            refuse(without.where, f"no value for {without.name}, though {other.name} has one. Give all or none of them")


def _class(entry: Entry, place: int) -> UserClass:
    name, where, colours = str(entry.name), entry.where, list[Any]()
    for given in (entry.options[key] for key in ("color", "colour") if key in entry.options):
        if given is None:
            refuse(where, f'class {name!r} has an empty colour. In YAML "#804080" needs quotation marks')
        several = isinstance(given, list) and given and not isinstance(given[0], int)
        colours += given if several else [given]
    if not (values := _as_list(entry.options.get("value", place))):
        refuse(where, f"class {name!r} has no value. Give it one, or leave all values out")
    return UserClass(
        name,
        tuple(_value(where, f"class {name!r}", value) for value in values),
        tuple(_colour(where, f"class {name!r}", colour) for colour in colours),
    )


def _check_owners(entries: Sequence[Entry], classes: Sequence[UserClass]) -> None:
    """Refuse a value or a colour that two classes have."""
    owners: dict[int | Colour, UserClass] = {}
    for entry, item in zip(entries, classes, strict=True):
        things: tuple[int | Colour, ...] = (*item.values, *item.colours)
        for thing in things:
            if (owner := owners.setdefault(thing, item)) is not item:
                kind = "value" if isinstance(thing, int) else "colour"
                refuse(entry.where, f"{kind} {thing} stands for {owner.name} and for {item.name}. Each needs its own")


def _merged(classes: Sequence[UserClass], options: Options) -> list[UserClass]:
    merge, where = options.given.get("merge") or {}, options.where("merge")
    names = [item.name for item in classes]
    if not isinstance(merge, dict) or not all(isinstance(parts, list) and parts for parts in merge.values()):
        refuse(where, "merge is expected to name new classes and their parts, as {vehicle: [car, bus]}")
    parts = [part for new in merge.values() for part in new]
    if unknown := [str(part) for part in parts if part not in names]:
        refuse(where, f"merge names {', '.join(unknown)}, expected only classes of the list that are not ignored")
    if twice := {part for part in parts if parts.count(part) > 1}:
        refuse(where, f"merge names {', '.join(sorted(twice))} more than once")
    whole = {part: str(new) for new, old in merge.items() for part in old}
    groups: dict[str, list[UserClass]] = {}
    for item in classes:
        groups.setdefault(whole.get(item.name, item.name), []).append(item)
    if clash := [new for new in map(str, merge) if new in names and new not in merge.get(new, [])]:
        refuse(where, f"merge makes {', '.join(clash)}, but there is a class of that name already")
    return [
        UserClass(
            name,
            tuple(value for part in group for value in part.values),
            tuple(colour for part in group for colour in part.colours),
        )
        for name, group in groups.items()
    ]


def _check_options(options: Options) -> None:
    given = options.given
    if given.get("masks", "index") not in ("index", "color"):
        refuse(options.where("masks"), f"masks is {given['masks']!r}, expected index or color")
    for key in ("base_size", "crop_size"):
        size = given.get(key)
        if size is not None and not (isinstance(size, list) and [*map(type, size)] == [int, int] and min(size) > 0):
            refuse(options.where(key), f"{key} is {size!r}, expected height and width in pixels, as [512, 1024]")
    for key in ("image_suffix", "mask_suffix"):
        if not isinstance(given.get(key, ""), str):
            refuse(options.where(key), f"{key} is {given[key]!r}, expected text in quotation marks")


def _value(where: str, owner: str, value: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= _LARGEST_VALUE:
        refuse(where, f"{owner}: value {value!r}, expected a whole number from 0 to {_LARGEST_VALUE}")
    return value


def _ignored_colour(where: str, colour: Any) -> Colour:
    if colour is None or (isinstance(colour, str) and not colour.startswith("#")):
        refuse(where, f"ignore: {'null' if colour is None else colour} is no class of the list, and no value or colour")
    return _colour(where, "ignore", colour)


def _colour(where: str, owner: str, colour: Any) -> Colour:
    if isinstance(colour, str) and re.fullmatch("#[0-9a-fA-F]{6}", colour):
        colour = list(bytes.fromhex(colour[1:]))
    channels = colour if isinstance(colour, list) else []
    if len(channels) != 3 or not all(type(part) is int and 0 <= part <= 255 for part in channels):
        refuse(where, f'{owner}: colour {colour!r}, expected three numbers from 0 to 255 or as "#804080"')
    return channels[0], channels[1], channels[2]


def _as_list(given: Any) -> list[Any]:
    return [] if given is None else given if isinstance(given, list) else [given]
