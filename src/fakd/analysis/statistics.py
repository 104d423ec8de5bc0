"""Several seeds as one number: mean, deviation, and whether two methods differ."""

from collections.abc import Iterable, Mapping, Sequence
from statistics import fmean, stdev
from typing import NamedTuple

import numpy as np
from scipy import stats

LEVEL = 0.95
"""Confidence of every interval."""
MARKED = (
    f"* marks a difference with p < {1 - LEVEL:.2g} by Student's paired t-test, corrected by Holm's method for all "
    f"that are compared with the same baseline; the intervals are of {LEVEL:.0%} each, uncorrected."
)
"""What a caption says of the mark and the intervals."""


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
    p: float | None = None
    """Probability of a mean as far from 0 if there were no difference; None where the differences do not vary."""

    @property
    def significant(self) -> bool:
        """Whether p is below 1 minus the confidence."""
        return self.p is not None and self.p < 1 - LEVEL


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


def signed(value: float) -> str:
    """Two digits and a sign, but no minus before what is rounded to 0."""
    return f"{round(value, 2) + 0.0:+.2f}"


def difference_text(found: Difference, missing: str = "") -> str:
    """A difference with its mark and its interval, or what stands in place of a missing interval.

    Example:
        >>> difference_text(Difference(-1.5, -2.25, -0.75, 2, 0.1, 0.01)), difference_text(Difference(2, None, None, 1))
        ('-1.50* [-2.25, -0.75]', '+2.00')
    """
    known = found.low is not None and found.high is not None
    interval = f" [{signed(found.low)}, {signed(found.high)}]" if known else missing  # type: ignore[arg-type]
    return f"{signed(found.mean)}{'*' * found.significant}{interval}"


def paired_difference(ours: Mapping[int, float], theirs: Mapping[int, float]) -> Difference | None:
    """Student's t interval of the mean difference between runs of the same seed, and the p-value of its t-test.

    Runs of the same seed share the order of the data and its augmentation, so their difference is less a matter of
    chance than that of two runs of different seeds. The interval takes the differences for normally distributed: over
    three seeds it is 4.3 standard errors wide on each side.

    Args:
        ours: values by seed.
        theirs: those of the baseline.

    Returns:
        Ours minus theirs; None if no seed is common.
    """
    pairs = [(ours[seed], theirs[seed]) for seed in ours if seed in theirs]
    found = spread(one - other for one, other in pairs)
    if found is None:
        return None
    if not found.sd:  # one seed, or differences that are all the same: no test has an answer
        low, high = (None, None) if found.sd is None else (found.mean, found.mean)
        return Difference(found.mean, low, high, len(pairs), found.sd)
    test = stats.ttest_rel(*zip(*pairs, strict=True))
    interval = test.confidence_interval(LEVEL)
    return Difference(found.mean, float(interval.low), float(interval.high), len(pairs), found.sd, float(test.pvalue))


def holm(p_values: Sequence[float]) -> list[float]:
    """Correct p-values of several tests, so that any of them is below a level by chance no more often than it says.

    Source: Holm 1979.

    Example:
        >>> [round(p, 2) for p in holm([0.04, 0.01, 0.03])]
        [0.06, 0.03, 0.06]
    """
    values = np.asarray(p_values, dtype=float)
    order = np.argsort(values)
    factors = np.arange(len(values), 0, -1)
    corrected = np.empty_like(values)
    corrected[order] = np.maximum.accumulate(np.minimum(1, values[order] * factors))
    return [float(value) for value in corrected]
