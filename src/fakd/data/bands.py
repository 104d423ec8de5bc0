"""Which bands of a TIFF file a network sees, and what their values mean."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from math import inf
from typing import Any

from fakd.options import BandNumbers, Factors


@dataclass(frozen=True)
class Bands:
    """Which bands of a raster a network sees, and how their values become 0 to 255.

    Raises:
        ValueError: a number is out of range, or there are not as many as are needed.

    Example:
        >>> Bands((4, 3, 2), (0, 10000)).channels
        3
    """

    numbers: tuple[int, ...] | None = None
    """Bands in their order, counted from 1; None is the first three, or the first thrice where there are fewer."""
    value_range: tuple[float, ...] | None = None
    """What becomes 0 and what becomes 255, for all bands or for each of them; None for bands of 8 bits."""

    def __post_init__(self) -> None:
        if self.numbers is not None and not (self.numbers and min(self.numbers) >= 1):
            got = ",".join(map(str, self.numbers))
            raise ValueError(f"bands must be numbers of bands, counted from 1, as --bands 1,2,3; got {got!r}.")
        if (given := self.value_range) is None:
            return
        lows, highs = given[::2], given[1::2]
        wrong = [pair for pair in zip(lows, highs, strict=False) if not -inf < pair[0] < pair[1] < inf]
        if len(given) not in (2, 2 * self.channels) or wrong:
            raise ValueError(
                f"value_range must be two numbers, the smaller first, as --value-range 0,10000, or two for each of the "
                f"{self.channels} bands; got {','.join(f'{value:g}' for value in given)}."
            )

    @property
    def channels(self) -> int:
        """How many channels an image has."""
        return 3 if self.numbers is None else len(self.numbers)

    @property
    def chosen(self) -> bool:
        """Whether anything is said, which holds for TIFF files alone."""
        return self.numbers is not None or self.value_range is not None

    def check_channels(self, network: str, channels: int) -> None:
        """Refuse a network that takes images of another number of channels.

        Raises:
            ValueError: it does.
        """
        if channels != self.channels:
            example = ",".join(map(str, range(1, channels + 1)))
            raise ValueError(
                f"{network} takes images of {channels} channels, and {self.channels} bands are read: name as many by "
                f"--bands, as --bands {example}."
            )

    def notes(self) -> dict[str, str]:
        """What is kept with a network, as `of_notes` reads it."""
        said = {"bands": self.numbers, "value_range": self.value_range}
        return {name: json.dumps(value) for name, value in said.items() if value is not None}

    @classmethod
    def of_options(cls, options: Mapping[str, Any]) -> "Bands":
        """Read what a run's options, as they are kept with it, say of the bands that it was trained on."""
        numbers, value_range = (options.get(name) for name in ("bands", "value_range"))
        return cls(numbers and tuple(numbers), value_range and tuple(value_range))

    @classmethod
    def of_notes(cls, notes: Mapping[str, str], name: str) -> "Bands":
        """Read what a network's file says of the bands that it was trained on.

        Raises:
            ValueError: it is damaged.
        """
        told = {key: notes[key] for key in ("bands", "value_range") if key in notes}
        try:
            found: dict[str, Any] = {key: json.loads(value) for key, value in told.items()}
        except ValueError:
            found = told
        if any(not isinstance(value, list) or not all(map(_is_number, value)) for value in found.values()):
            raise ValueError(f"{name}: its bands or value_range are damaged, expected numbers; got {str(told)[:80]}.")
        numbers, value_range = (tuple(found[key]) if key in found else None for key in ("bands", "value_range"))
        return cls(numbers, value_range)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


@dataclass(kw_only=True)
class BandsConfig:
    """Which bands of TIFF files are read; they need `pip install 'fakd[geo]'`."""

    bands: BandNumbers | None = None
    """Bands of TIFF files that the network sees, counted from 1, as 4,3,2; more or fewer than three make a network of
    as many channels. By default those that it was trained on; else the first three, or a single one thrice."""
    value_range: Factors | None = None
    """What becomes black and what white in TIFF files of more than 8 bits, as 0,10000, or so for each band; by default
    as in training."""

    def chosen_bands(self, default: Bands | None = None) -> Bands:
        """What the options ask for.

        Args:
            default: what holds where they say nothing, as what the network was trained on.

        Raises:
            ValueError: a number is out of range.
        """
        default = default or Bands()
        return Bands(
            tuple(self.bands) if self.bands else default.numbers,
            tuple(self.value_range) if self.value_range else default.value_range,
        )
