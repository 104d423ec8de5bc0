"""The model card of a run: every number is read from its files."""

import html
import math
import shlex
from collections.abc import Mapping, Sequence
from importlib.resources import files

from huggingface_hub import EvalResult, ModelCard, ModelCardData

from fakd.analysis.groups import ALONE, Group, group_runs
from fakd.analysis.protocol import network_name, protocol_lines, without_folders
from fakd.analysis.run_options import command_words
from fakd.analysis.runs import Run, find_teacher_run
from fakd.analysis.statistics import spread_text
from fakd.analysis.tables import markdown_lines
from fakd.data import DATASETS
from fakd.evaluation.predictor import base_size_in

TODO = "TODO"
"""What stands in a card where its author has to say something, as no run knows under which licence its data are."""

_SCORES = ("mIoU", "mAcc", "aAcc")
_HUB_METRIC = {"mIoU": "mean_iou", "mAcc": "mean_accuracy", "aAcc": "accuracy"}
_PAPER_STEPS = 40_000
_POOR = 10.0  # percent of IoU, below which a class is as good as not found


def model_card(run: Run, runs: Sequence[Run], notes: Mapping[str, str], *, name: str, licence: str | None) -> ModelCard:
    """Write the card.

    Args:
        run: the one whose network is shared.
        runs: that one, and others on the same data: its other seeds, other methods, its teacher.
        notes: what the network's file says beside the weights.
        name: what the network is called: a folder's name, or USER/NAME.
        licence: of the data set; None leaves a TODO.
    """
    groups = group_runs(runs)
    own = next(group for group in groups if run in group.runs)
    teacher = find_teacher_run(run, runs)
    base_size = base_size_in(notes, name)
    dataset, method, spec = run.config["dataset"], run.config.get("method", ALONE), DATASETS.get(run.config["dataset"])
    iou = run.results["IoU"]
    card: ModelCard = ModelCard.from_template(
        card_data=_data(run, name, licence),
        template_str=files("fakd.analysis").joinpath("card.md").read_text(encoding="utf-8"),
        run=run,
        own=own,
        name=name,
        dataset=dataset,
        data="Images and masks of the author's own" if dataset == "folder" else f"{dataset[0].upper()}{dataset[1:]}",
        names=[_plain(each) for each in run.classes],
        network=network_name(run.config),
        taught=None if method == ALONE else method,
        todo=TODO,
        licence=licence,
        notice=spec.notice if spec else "",
        protocol=markdown_lines([["", ""], *protocol_lines(run, teacher, base_size)], numbers=False),
        scores=_SCORES,
        classes=_classes(run, own),
        seeds=_seeds(run, own),
        methods=_methods(groups) if len(groups) > 1 else "",
        commands="\n".join(_command(made) for made in (teacher, run) if made is not None),
        base_size=base_size,
        least=_POOR,
        poor=[_plain(each) for each, value in iou.items() if value is not None and value < _POOR],
        absent=[_plain(each) for each, value in iou.items() if value is None],
        steps=run.results.get("steps", _PAPER_STEPS),
        paper_steps=_PAPER_STEPS,
        percent=_percent,
        plain=_plain,
    )
    return card


def _data(run: Run, name: str, licence: str | None) -> ModelCardData:
    """What the Hub indexes.

    The network's licence is the author's to choose: with the TODO about the data the head has a place for it.
    """
    results = [
        EvalResult(
            task_type="image-segmentation",
            dataset_type=run.config["dataset"],
            dataset_name=run.config["dataset"],
            dataset_split="validation",
            metric_type=_HUB_METRIC[score],
            metric_name=f"{score} (%)",
            metric_value=round(run.results[score], 4),
        )
        for score in _SCORES
        if math.isfinite(run.results[score])
    ]
    distilled = ["knowledge-distillation"] if run.config.get("method", "none") != "none" else []
    return ModelCardData(
        library_name="fakd",
        license=None if licence else "other",
        license_name=None if licence else "to-be-filled-in",
        pipeline_tag="image-segmentation",
        tags=["semantic-segmentation", *distilled],
        model_name=name.rpartition("/")[2],
        eval_results=results,
    )


def _classes(run: Run, own: Group) -> str:
    several = len(own.runs) > 1
    head = ["class", "IoU %", "accuracy %", *([f"IoU %, {len(own.runs)} seeds"] if several else [])]
    means = own.class_iou()
    lines = [
        [
            _plain(name),
            _percent(run.results["IoU"][name]),
            _percent(run.results["acc"][name]),
            *([spread_text(means[name], 2)] if several else []),
        ]
        for name in run.classes
    ]
    return markdown_lines([head, *lines])


def _seeds(run: Run, own: Group) -> str:
    lines = [
        [f"{made.config['seed']}{', this network' * (made is run)}", *(_percent(made.results[s]) for s in _SCORES)]
        for made in own.runs
    ]
    if len(own.runs) > 1:
        lines.append(["mean ± sd", *_spreads(own)])
    return markdown_lines([["seed", *(f"{score} %" for score in _SCORES)], *lines])


def _methods(groups: Sequence[Group]) -> str:
    lines = [[_plain(group.label), str(len(group.runs)), *_spreads(group)] for group in groups]
    return markdown_lines([["run", "seeds", *(f"{score} %" for score in _SCORES)], *lines])


def _spreads(group: Group) -> list[str]:
    return [spread_text(group.spread(name), 2) for name in _SCORES]


def _command(run: Run) -> str:
    """The command line of a run; of absolute paths only the last part is kept."""
    return shlex.join(map(without_folders, command_words(run.config)))


def _percent(value: float | None) -> str:
    return "-" if value is None else f"{value:.2f}"


def _plain(text: str) -> str:
    """What a user called something, as text that no reader takes for markup."""
    words = html.escape(" ".join(text.split()), quote=False)
    return "".join(f"\\{character}" if character in r"\`*_[]" else character for character in words)
