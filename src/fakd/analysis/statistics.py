"""Several seeds as one number: mean, deviation, and a confidence interval of the difference between two methods."""

from collections.abc import Iterable, Mapping
from statistics import fmean, stdev
from typing import NamedTuple

from scipy import stats

LEVEL = 0.95
"""Confidence of every interval."""


class Spread(NamedTuple):
    """Mean, and the sample standard deviation where there are several values."""

    mean: float
    sd: float | None


class Difference(NamedTuple):
    """Mean difference over the seeds that both have, and its confidence interval where there are several."""

    mean: float
    low: float | None
    high: float | None
    seeds: int
    sd: float | None = None
    """Sample standard deviation of the differences."""


def spread(values: Iterable[float | None]) -> Spread | None:
    """Mean and sample standard deviation of the values that are there; None if none is.

    Example:
        >>> spread([1.0, 2.0, None, 3.0])
        Spread(mean=2.0, sd=1.0)
    """
    there = [value for value in values if value is not None]
    if not there:
        return None
    return Spread(fmean(there), stdev(there) if len(there) > 1 else None)


def spread_text(found: Spread | None, digits: int) -> str:
    """As people write it.

    Example:
        >>> spread_text(Spread(1234.5, 0.25), 1), spread_text(Spread(2.0, None), 2), spread_text(None, 1)
        ('1,234.5 ± 0.2', '2.00', '-')
    """
    if found is None:
        return "-"
    return f"{found.mean:,.{digits}f}" + ("" if found.sd is None else f" ± {found.sd:,.{digits}f}")


def parts(found: Spread | None) -> tuple[float | None, float | None]:
    """Mean and deviation as plain values, for drawing and JSON."""
    return (None, None) if found is None else (found.mean, found.sd)


def paired_difference(ours: Mapping[int, float], theirs: Mapping[int, float]) -> Difference | None:
    """Student's t interval of the mean difference between runs of the same seed.

    Runs of the same seed share the order of the data and its augmentation, so their difference is less a matter of
    chance than that of two runs of different seeds. The interval takes the differences for normally distributed: over
    three seeds it is 4.3 standard errors wide on each side.

    Args:
        ours: values by seed.
        theirs: those of the baseline.

    Returns:
        Ours minus theirs; None if no seed is common.
    """
    differences = [ours[seed] - theirs[seed] for seed in ours if seed in theirs]
    found = spread(differences)
    if found is None:
        return None
    if found.sd is None:
        return Difference(found.mean, None, None, 1)
    error = found.sd / len(differences) ** 0.5
    reach = float(stats.t.ppf((1 + LEVEL) / 2, len(differences) - 1)) * error
    return Difference(found.mean, found.mean - reach, found.mean + reach, len(differences), found.sd)
