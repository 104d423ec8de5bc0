"""The classes of a user's own data set, and what stands for them in masks."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from fakd.data.paired_files import LabelTable, label_table
from fakd.types import IGNORE_INDEX

Colour = tuple[int, int, int]


@dataclass(frozen=True)
class UserClass:
    """One class, and what stands for it in masks."""

    name: str
    values: tuple[int, ...]
    """In index masks."""
    colours: tuple[Colour, ...] = ()
    """In colour masks."""


@dataclass(frozen=True)
class ClassList:
    """What the file of classes says; `fakd.data.user.class_file` tells the meaning."""

    path: Path
    classes: tuple[UserClass, ...]
    ignored_values: tuple[int, ...] = ()
    ignored_colours: tuple[Colour, ...] = ()
    options: Mapping[str, Any] = field(default_factory=dict)
    """masks, image_suffix, mask_suffix, base_size and crop_size, as far as they are given."""

    @cached_property
    def palette(self) -> tuple[Colour, ...]:
        """The first colour of every class; a distinct one is made up where there is none."""
        taken = {colour for item in self.classes for colour in item.colours}
        free = (colour for index in range(1, 512) if (colour := voc_colour(index)) not in taken)
        return tuple(item.colours[0] if item.colours else next(free) for item in self.classes)

    @cached_property
    def ignored_value(self) -> int:
        """The value that ignored colours are read as: 255, or one beyond all others where that is a class."""
        values = {value for item in self.classes for value in item.values}
        return IGNORE_INDEX if IGNORE_INDEX not in values else max(values | {*self.ignored_values}) + 1

    @cached_property
    def table(self) -> LabelTable:
        """The class index of every value of a mask."""
        indices = {value: index for index, item in enumerate(self.classes) for value in item.values}
        ignored = {*self.ignored_values} | ({self.ignored_value} if self.ignored_colours else set())
        return label_table(indices | dict.fromkeys(ignored, IGNORE_INDEX), size=max([255, *indices, *ignored]) + 1)


def voc_colour(index: int) -> Colour:
    """The colour that Pascal VOC gives to a class: its bits are dealt out to red, green and blue in turn."""
    red, green, blue = (
        sum((index >> (3 * place + channel) & 1) << (7 - place) for place in range(8)) for channel in range(3)
    )
    return red, green, blue
