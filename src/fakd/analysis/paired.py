"""Several seeds as one number: mean, deviation, and a confidence interval of the difference between two methods."""

from collections.abc import Mapping, Sequence
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


def spread(values: Sequence[float]) -> Spread | None:
    """Mean and sample standard deviation; None if there are no values.

    Example:
        >>> spread([1.0, 2.0, 3.0])
        Spread(mean=2.0, sd=1.0)
    """
    if not values:
        return None
    return Spread(fmean(values), stdev(values) if len(values) > 1 else None)


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
    return Difference(found.mean, found.mean - reach, found.mean + reach, len(differences))
