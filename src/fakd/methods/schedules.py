"""How the augmentation strength grows over training, and how the learning rate falls."""

import math
from collections.abc import Callable

Schedule = Callable[[int, int], float]
"""`schedule(step, max_steps)`: the share, 0 to 1, of the full strength at a step 0 <= step < max_steps."""


def cosine(step: int, max_steps: int) -> float:
    """(1 - cos(pi t / T)) / 2: 0 at the first step, 1 at the last; FAKD's "cosine update method".

    Example:
        >>> cosine(0, 101), round(cosine(50, 101), 6), cosine(100, 101)
        (0.0, 0.5, 1.0)
    """
    return (1 - math.cos(math.pi * _progress(step, max_steps))) / 2


def linear(step: int, max_steps: int) -> float:
    """t / T: 0 at the first step, 1 at the last; ISDA's ramp."""
    return _progress(step, max_steps)


def constant(step: int, max_steps: int) -> float:
    """1 from the first step on."""
    return 1.0


SCHEDULES: dict[str, Schedule] = {"cosine": cosine, "linear": linear, "constant": constant}


def poly(step: int, max_steps: int, *, power: float = 0.9, floor: float = 0.01) -> float:
    """MMSegmentation's learning rate as a share of its first value.

        (1 - floor) * (1 - t / T)^power + floor

    Args:
        step: t, updates done so far.
        max_steps: T.
        power: 0.9 in every paper of this line.
        floor: the last value over the first; 1e-4 / 1e-2.
    """
    remaining: float = (1 - min(step, max_steps) / max_steps) ** power
    return (1 - floor) * remaining + floor


def _progress(step: int, max_steps: int) -> float:
    return min(step / (max_steps - 1), 1.0) if max_steps > 1 else 1.0
