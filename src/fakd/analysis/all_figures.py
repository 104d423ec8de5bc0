"""The parts of an analysis: each gives its figures by file name, and its numbers as plain values."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from matplotlib.figure import Figure

from fakd.analysis.cached_counts import CachedCounts
from fakd.analysis.figures.by_class import (
    class_gains,
    draw_class_gains,
    draw_class_iou,
    draw_rare_classes,
    rank_correlation,
)
from fakd.analysis.figures.features import (
    covariance_growth,
    draw_covariance,
    draw_covariance_growth,
    draw_feature_maps,
    read_covariance,
)
from fakd.analysis.figures.predictions import (
    boundary_scores,
    draw_boundary,
    draw_calibration,
    draw_confusion,
    expected_calibration_error,
)
from fakd.analysis.figures.style import Look, choose_looks
from fakd.analysis.groups import Group
from fakd.analysis.pixel_counts import PixelCounts, pooled
from fakd.analysis.statistics import Spread, parts, spread

Section = tuple[dict[str, Figure], dict[str, Any]]


@dataclass(frozen=True)
class Analysed:
    """What every part looks at."""

    groups: Sequence[Group]
    baseline: Group | None
    counts: CachedCounts
    looks: Mapping[str, Look]


def analyze_groups(groups: Sequence[Group], baseline: Group | None, counts: CachedCounts, *, images: int) -> Section:
    """Every figure by the name of its file, and every number.

    Args:
        groups: in the order of legends.
        baseline: the student alone; None leaves out what is about gains.
        counts: over the data set of the runs.
        images: how many images to show features of.
    """
    looks = choose_looks([group.label for group in groups], [baseline.label] if baseline else [])
    given = Analysed(groups, baseline, counts, looks)
    figures: dict[str, Figure] = {}
    numbers: dict[str, Any] = {}
    for part in (_by_class(given), _predictions(given), _features(given, images), _covariances(given)):
        figures |= part[0]
        numbers |= part[1]
    return figures, numbers


def _by_class(given: Analysed) -> Section:
    """IoU by class; where there is something to compare, gains by class, and over the rarity of classes."""
    groups, baseline, looks = given.groups, given.baseline, given.looks
    iou = {group.label: group.class_iou() for group in groups}
    numbers: dict[str, Any] = {
        "mIoU": {group.label: _plain(group.spread("mIoU")) for group in groups},
        "IoU": {method: {name: _plain(found) for name, found in values.items()} for method, values in iou.items()},
    }
    classes = given.counts.spec.classes
    if baseline is None or len(groups) == 1:
        return {"class-iou": draw_class_iou(iou, classes, looks)}, numbers
    means = {method: {name: value and value.mean for name, value in values.items()} for method, values in iou.items()}
    gains = class_gains(means, baseline.label)
    pixels = given.counts.train_pixels().tolist()
    share = {name: 100 * count / max(1, sum(pixels)) for name, count in zip(classes, pixels, strict=True)}
    shares = [share[name] for name in gains.classes]
    correlations = {method: rank_correlation(shares, values) for method, values in gains.gains.items()}
    numbers["class_gains"] = asdict(gains)
    numbers["rare_classes"] = {
        "train_share_percent": share,
        "rank_correlation": {method: found and asdict(found) for method, found in correlations.items()},
    }
    hardest_first = [*gains.classes, *(name for name in classes if name not in gains.classes)]
    return {
        "class-gains": draw_class_gains(gains, looks, baseline.label),
        "class-iou": draw_class_iou(iou, hardest_first, looks),
        "rare-classes": draw_rare_classes(gains.classes, shares, gains.gains, correlations, looks, baseline.label),
    }, numbers


def _predictions(given: Analysed) -> Section:
    """What a pass over the validation split counts: boundaries, calibration, confusion."""
    counts, looks = given.counts, given.looks
    measured = {group: [counts.measured(run) for run in group.runs] for group in given.groups}
    together = {group: pooled(parts) for group, parts in measured.items()}
    boundary = {group.label: _boundary(parts) for group, parts in measured.items()}
    errors = {
        group.label: spread(expected_calibration_error(part.calibration) for part in parts)
        for group, parts in measured.items()
    }
    tables = {group.label: total.calibration for group, total in together.items()}
    shares = [share.mean for scores in boundary.values() if (share := scores["share"])]
    figures = {
        "boundary": draw_boundary(boundary, shares, counts.band, looks),
        "calibration": draw_calibration(tables, errors, looks),
    }
    for group, total in together.items():
        seeds = f"{group.label}, {len(group.runs)} runs together" if len(group.runs) > 1 else group.label
        figures[f"confusion-{group.slug}"] = draw_confusion(total.confusion, counts.spec.classes, f"Confusion: {seeds}")
    return figures, {
        "boundary": {
            method: {name: _plain(found) for name, found in scores.items()} for method, scores in boundary.items()
        },
        "calibration": {
            method: {
                "ECE": _plain(errors[method]),
                **dict(zip(("pixels", "right", "confidence_sum"), table.tolist(), strict=True)),
            }
            for method, table in tables.items()
        },
        "confusion": {group.label: total.confusion.tolist() for group, total in together.items()},
    }


def _boundary(parts: Iterable[PixelCounts]) -> dict[str, Spread | None]:
    scores = [asdict(boundary_scores(part)) for part in parts]
    return {name: spread(values[name] for values in scores) for name in scores[0]}


def _features(given: Analysed, images: int) -> Section:
    """The features of each method's first run on a few images."""
    if images == 0:
        return {}, {}
    samples = given.counts.samples(images)
    maps = {group.label: given.counts.feature_maps(group.runs[0], samples) for group in given.groups}
    return {"feature-maps": draw_feature_maps(samples, maps, given.counts.spec.palette)}, {
        "feature_maps": {
            method: {
                sample.name: {"mean": found.strength.mean().item(), "separation_percent": found.separation}
                for sample, found in zip(samples, column, strict=True)
            }
            for method, column in maps.items()
        }
    }


def _covariances(given: Analysed) -> Section:
    """What the runs that estimate a covariance have estimated, and how it grew where they have logged that."""
    estimates, growth = {}, {}
    for group in given.groups:
        if there := [found for run in group.runs if (found := read_covariance(run.folder))]:
            estimates[group.label] = there
        if logged := [series for run in group.runs if (series := covariance_growth(run))]:
            growth[group.label] = logged
    figures = {}
    if estimates:
        figures["covariance"] = draw_covariance(estimates, given.counts.spec.classes, given.looks)
    if growth:
        figures["covariance-growth"] = draw_covariance_growth(growth, given.looks)
    return figures, {
        "covariance": {method: [asdict(found) for found in runs] for method, runs in estimates.items()},
        "covariance_growth": growth,
    }


def _plain(found: Spread | None) -> dict[str, float | None]:
    return dict(zip(Spread._fields, parts(found), strict=True))
