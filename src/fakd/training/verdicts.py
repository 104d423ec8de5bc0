"""What a run's numbers say that its user should hear: one line each, with what to do."""

from collections.abc import Mapping, Sequence
from math import sqrt
from statistics import mean, stdev
from typing import Any

from torch import Tensor

from fakd.console import say
from fakd.data.batches import SegmentationData
from fakd.data.paired_files import PairedFiles
from fakd.data.pairing import listed
from fakd.data.spec import SPLITS
from fakd.training.label_loss import count_labels
from fakd.types import IGNORE_INDEX

_MARGIN = 0.5
"""Points of mIoU above chance from which on something was learnt."""
_FALL = 0.1
"""Share of the loss by which it still falls fast, from the fifth before the last to the last."""
_FEWEST = 20
"""Logged losses that can be judged."""
_IGNORED = 0.1
"""Share of ignored pixels that is worth a word."""


def run_verdicts(
    results: Mapping[str, Any], losses: Sequence[float] = (), teachers: Sequence[str] = ()
) -> dict[str, str]:
    """Judge a finished run.

    Args:
        results: what its results.json holds.
        losses: its logged losses, in order.
        teachers: the names of those that taught it, where they are known.

    Returns:
        Sentences by what they are about: "nothing", "never", "teacher", "falling".
    """
    score, teacher, found = results["mIoU"], results.get("teacher"), dict[str, str]()
    name = "agreement with the teacher" if "scored_against" in results else "mIoU"
    chance = results.get("chance")  # runs of earlier releases do not say it
    if chance is not None and score < chance + _MARGIN:
        found["nothing"] = (
            f"learnt nothing: {name} {score:.2f}, where the most frequent class everywhere, or any at random, has "
            f"{chance:.2f}. Train longer (--epochs), or by --recipe own."
        )
    elif never := never_found(results):
        blind = [name for name in never if teacher and name in never_found(teacher)]
        also = f" (nor does the teacher find {listed(blind)})" if blind else ""
        found["never"] = (
            f"never finds {listed(never)}{also}. Weigh rare classes by --class-weights sqrt, train longer, or give "
            "more images of them."
        )
    if teacher and teacher["mIoU"] < score:
        found["teacher"] = (
            f"the teacher (mIoU {teacher['mIoU']:.2f}) is worse than its student ({score:.2f}). Train the teacher "
            "longer or on more, give another, or leave it out by --method none."
            if len(teachers) < 2
            else f"the mean of {' + '.join(teachers)} (mIoU {teacher['mIoU']:.2f}) is worse than its student "
            f"({score:.2f}). Score each by `fakd evaluate`, and leave out the weakest or give it less of the "
            "--teacher-weights."
        )
    if (fall := _late_fall(losses)) > _FALL:
        found["falling"] = (
            f"the loss still falls fast, by {100 * fall:.0f}% in the last fifth of the run. Train longer: --max-steps "
            "or --epochs."
        )
    return found


def never_found(results: Mapping[str, Any]) -> list[str]:
    """The classes of which not one pixel is right."""
    return [name for name, value in results.get("IoU", {}).items() if value == 0]


def data_verdicts(pixels: Mapping[str, Tensor], classes: Sequence[str]) -> list[str]:
    """Judge what the labels of each split are.

    Args:
        pixels: (256,) how many pixels have each label, by split.
        classes: names, in order.
    """
    found = []
    for split, counts in pixels.items():
        if absent := [name for index, name in enumerate(classes) if counts[index] == 0]:
            do = "Nothing can be learnt of them" if split == "train" else "Nobody knows how well they are found"
            found.append(f"never in {split}: {listed(absent)}. {do}: move images between the splits, or add some.")
        share = float(counts[IGNORE_INDEX] / counts.sum().clamp_min(1))
        if share > _IGNORED:
            found.append(
                f"{100 * share:.0f}% of the pixels in {split} are ignored (255). If that is not meant, look at the "
                "masks: fakd data show."
            )
    return found


def check_files(data: SegmentationData) -> None:
    """Open every file once, and say what of its labels a user should hear.

    Raises:
        DataError: a file is at fault; the message names it.
    """
    data.check()
    sources = {split: data.source(split) for split in SPLITS}
    pixels = {split: count_labels(source) for split, source in sources.items() if isinstance(source, PairedFiles)}
    for verdict in data_verdicts(pixels, data.spec.classes):
        say(f"data      {verdict}", style="yellow")


def _late_fall(losses: Sequence[float]) -> float:
    """By what share the loss falls from the fifth before the last to the last; 0 where that may be chance."""
    fifth = len(losses) // 5
    if len(losses) < _FEWEST:
        return 0.0
    before, last = losses[-2 * fifth : -fifth], losses[-fifth:]
    fall = mean(before) - mean(last)
    error = sqrt((stdev(before) ** 2 + stdev(last) ** 2) / fifth)
    return fall / mean(before) if fall > 2 * error and mean(before) > 0 else 0.0
