"""What the numbers of several runs say that their user should hear: one line each, with what to do."""

from collections.abc import Sequence

from fakd.analysis.groups import Group
from fakd.evaluation.ensembles import teacher_names
from fakd.training.verdicts import run_verdicts


def group_verdicts(groups: Sequence[Group], *, equal_time: bool = False) -> list[str]:
    """Judge groups of finished runs, each by itself and beside the others, which may have had the same time instead."""
    return [line for group in groups for line in _of(group)] + ([] if equal_time else _unequal_budgets(groups))


def learnt_nothing(group: Group) -> bool:
    """Whether a run of the group ended no better than chance."""
    return any("nothing" in verdicts for verdicts in _judged(group))


def _judged(group: Group) -> list[dict[str, str]]:
    return [
        run_verdicts(
            run.results,
            [loss for _, loss in run.metrics.get("loss/total", ())],
            teacher_names(run.config.get("teacher") or ()),
        )
        for run in group.runs
        if "mIoU" in run.results
    ]


def _of(group: Group) -> list[str]:
    judged = _judged(group)
    found = []
    for kind in dict.fromkeys(kind for verdicts in judged for kind in verdicts):
        hit = [verdicts[kind] for verdicts in judged if kind in verdicts]
        where = f" (in {len(hit)} of {len(judged)} runs)" if len(judged) > 1 else ""
        found.append(f"{group.label}{where}: {hit[0]}")
    scores = {run.results.get("mIoU") for run in group.runs}
    if len(group.runs) > 1 and len(scores) == 1:
        found.append(
            f"{group.label}: all {len(group.runs)} runs have the very same mIoU, so that an interval of no width says "
            "nothing of their spread. Look whether anything was learnt, and whether the seeds differ."
        )
    return found


def _unequal_budgets(groups: Sequence[Group]) -> list[str]:
    """Runs of unequal lengths, of which no gain is shown."""
    budgets = {group.label: group.budget for group in groups if group.method and group.budget}
    if len(set(budgets.values())) < 2:
        return []
    said = ", ".join(f"{label} {crops:,}" for label, crops in budgets.items())
    return [
        f"unequal budgets, in crops: {said}. Only runs of equal budgets are compared: give all the same --max-steps "
        "and --batch-size."
    ]
