"""The classes of a user's own data set, and masks that hold a value for every class, or a colour."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from fakd.data.paired_files import LabelTable, label_table
from fakd.data.pairing import listed
from fakd.data.reading import LabelMap, Packed, load_mask, one_channel, stored_indices
from fakd.data.spec import DataError
from fakd.types import IGNORE_INDEX

Codes = npt.NDArray[np.int32]
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


@dataclass(frozen=True)
class UserMasks:
    """Reads masks as the values of a class list, whichever way they are stored.

    A mask of red, green and blue holds colours, which must be exactly those of the classes; where the three are the
    same everywhere, and no colours of classes, they are one channel. One of a single channel or with a palette holds
    values. What is seen could still be meant, as in black and white masks of two classes: if the
    colours seen are those of other classes than the values, the class list must say which counts (`masks`).
    """

    classes: ClassList

    def __call__(self, path: Path | Packed) -> LabelMap:
        """Return the (H, W) values of a mask.

        Raises:
            DataError: The file is not readable, has a colour of no class, or could mean two things.
        """
        return self.values(load_mask(path), path)

    def values(self, mask: Image.Image, path: Path | Packed) -> LabelMap:
        """Return the (H, W) values of a mask, or of a part of it, that is read already; `path` is for errors."""
        kind = self.classes.options.get("masks")
        grey = one_channel(mask)
        if kind == "index" or (kind is None and not (self._all_coloured and self._knows(grey))):
            mask = grey
        if len(mask.getbands()) > 1 or kind == "color":
            return self._from_colours(mask, path)
        if kind is None and mask.mode in ("L", "P"):
            self._require_one_meaning(mask, path)
        return stored_indices(mask, path)

    def _from_colours(self, mask: Image.Image, path: Path | Packed) -> LabelMap:
        if not self._all_coloured:
            missing = [item.name for item in self.classes.classes if not item.colours]
            raise DataError(
                f"{path}: an RGB mask where an index mask is due, as {self.classes.path.name} gives no colour for "
                f"{listed(missing)}. Give every class its colour there, or store class numbers in one channel."
            )
        codes = _codes(np.asarray(mask.convert("RGB")))
        known, values = self._by_code
        nearest = np.searchsorted(known, codes).clip(max=len(known) - 1)
        unknown = known[nearest] != codes
        if unknown.any():
            raise DataError(f"{path}: {self._unknown(codes[unknown])}")
        found: LabelMap = values[nearest]
        return found

    @cached_property
    def _all_coloured(self) -> bool:
        return all(item.colours for item in self.classes.classes)

    def _knows(self, grey: Image.Image) -> bool:
        """Whether the greys of a picture, if it is one, are colours of classes."""
        return grey.mode != "L" or {(value,) * 3 for value, count in enumerate(grey.histogram()) if count} <= {
            *self._colours
        }

    @cached_property
    def _colours(self) -> dict[Colour, tuple[str, int]]:
        """The name and the value of every colour."""
        classes = {colour: (item.name, item.values[0]) for item in self.classes.classes for colour in item.colours}
        return classes | dict.fromkeys(self.classes.ignored_colours, ("ignore", self.classes.ignored_value))

    @cached_property
    def _by_code(self) -> tuple[Codes, npt.NDArray[np.int32]]:
        """Every colour as a number, ascending, and its value."""
        codes = _codes(np.array(list(self._colours), dtype=np.uint8))
        order = np.argsort(codes)
        return codes[order], np.array([value for _, value in self._colours.values()], dtype=np.int32)[order]

    def _unknown(self, codes: Codes) -> str:
        """Say which colours are of no class, the most frequent first, and which ones they may be meant to be."""
        found, counts = np.unique(codes, return_counts=True)
        known = np.array(list(self._colours))
        words = []
        for place in np.argsort(-counts, kind="stable"):
            colour = int(found[place]) >> 16, int(found[place]) >> 8 & 255, int(found[place]) & 255
            near = tuple(known[np.square(known - colour).sum(1).argmin()].tolist())
            words.append(f"{colour} in {counts[place]} pixels (nearest is {near}, {self._colours[near][0]})")
        return (
            f"{'colours' if len(words) > 1 else 'colour'} of no class: {listed(words)}. Add them to "
            f"{self.classes.path.name}, or correct the mask; editors smooth edges and so make colours in between."
        )

    def _require_one_meaning(self, mask: Image.Image, path: Path | Packed) -> None:
        palette = mask.getpalette("RGB") if mask.mode == "P" else [grey for grey in range(256) for _ in range(3)]
        colours = np.array(palette).reshape(-1, 3).tolist()
        table = self.classes.table
        meanings = dict(enumerate(item.name for item in self.classes.classes)) | {IGNORE_INDEX: "ignore"}
        for value, count in enumerate(mask.histogram()[: len(colours)]):
            name, meant = self._colours.get(tuple(colours[value]), ("", value))
            if count and table[meant] != table[value]:
                raise DataError(
                    f"{path}: value {value} stands for {meanings.get(int(table[value]), 'no class')}, but it is shown "
                    f"in the colour {tuple(colours[value])}, which stands for {name}. Say in classes.yaml "
                    "which one counts, with `masks: index` or `masks: color`."
                )


def voc_colour(index: int) -> Colour:
    """The colour that Pascal VOC gives to a class: its bits are dealt out to red, green and blue in turn."""
    red, green, blue = (
        sum((index >> (3 * place + channel) & 1) << (7 - place) for place in range(8)) for channel in range(3)
    )
    return red, green, blue


def hex_colour(colour: Colour) -> str:
    """A colour as "#804080"."""
    return "#{:02x}{:02x}{:02x}".format(*colour)


def _codes(colours: npt.NDArray[np.uint8]) -> Codes:
    wide = colours.astype(np.int32)
    return wide[..., 0] << 16 | wide[..., 1] << 8 | wide[..., 2]
