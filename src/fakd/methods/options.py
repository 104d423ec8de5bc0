"""The checks of methods' options: each by its name, `check_numbers(weight=weight)`, so that a message can say it."""

import math
from typing import Any


def check_numbers(**options: float) -> None:
    """Raise ValueError unless each option is a finite number, 0 or more."""
    for name, value in options.items():
        if not _is_number(value) or value < 0:
            raise ValueError(f"{name} must be a number, 0 or more, got {value!r}.")


def check_positive(**options: float) -> None:
    """Raise ValueError unless each option is a finite number above 0."""
    for name, value in options.items():
        if not _is_number(value) or value <= 0:
            raise ValueError(f"{name} must be a number above 0, got {value!r}.")


def check_counts(**options: int) -> None:
    """Raise ValueError unless each option is a whole number, 1 or more."""
    for name, value in options.items():
        if not isinstance(value, int) or isinstance(value, bool) or value < 1:
            raise ValueError(f"{name} must be a whole number, 1 or more, got {value!r}.")


def check_flags(**options: bool) -> None:
    """Raise ValueError unless each option is true or false."""
    for name, value in options.items():
        if not isinstance(value, bool):
            raise ValueError(f"{name} must be true or false, got {value!r}.")


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
