"""The model card of a run: every number is read from its files."""

import html
import math
import shlex
from collections.abc import Iterator, Mapping, Sequence
from importlib.resources import files

from huggingface_hub import EvalResult, ModelCard, ModelCardData

from fakd.analysis.groups import Group, group_runs
from fakd.analysis.protocol import network_name, protocol_lines, size_text, without_folders
from fakd.analysis.run_options import command_words
from fakd.analysis.runs import Run, find_teacher_run
from fakd.analysis.statistics import spread_text
from fakd.analysis.tables import markdown_lines
from fakd.data import DATASETS
from fakd.evaluation.predictor import base_size_in
from fakd.models import Network

TODO = "TODO"
"""What stands in a card where its author has to say something, as no run knows under which licence its data are."""

_SCORES = ("mIoU", "mAcc", "aAcc")
_HUB_METRIC = {"mIoU": "mean_iou", "mAcc": "mean_accuracy", "aAcc": "accuracy"}
_PAPER_STEPS = 40_000
_POOR = 10.0  # percent of IoU, below which a class is as good as not found


def model_card(
    run: Run,
    runs: Sequence[Run],
    model: Network,
    notes: Mapping[str, str],
    *,
    name: str,
    licence: str | None,
) -> ModelCard:
    """Write the card.

    Args:
        run: the one whose network is shared.
        runs: that one, and others on the same data: its other seeds, other methods, its teacher.
        model: the network.
        notes: what its file says beside the weights.
        name: what the network is called: a folder's name, or USER/NAME.
        licence: of the data set; None leaves a TODO.
    """
    groups = group_runs(runs)
    own = next(group for group in groups if run in group.runs)
    teacher = find_teacher_run(run, runs)
    base_size = base_size_in(notes, name)
    card: ModelCard = ModelCard.from_template(
        card_data=_data(run, name, licence),
        template_str=files("fakd.analysis").joinpath("card.md").read_text(encoding="utf-8"),
        title=_plain(name.rpartition("/")[2]),
        summary=_summary(run, model),
        use=_use(name),
        data=_data_set(run),
        licence=_licence(run, licence),
        protocol=markdown_lines([["", ""], *protocol_lines(run, teacher, base_size)], numbers=False),
        results=", ".join(f"**{score} {run.results[score]:.2f} %**" for score in _SCORES)
        + " on the validation split, from one confusion matrix over all of it.",
        classes=_classes(run, own),
        seeds=_seeds(run, own),
        methods=_methods(groups) if len(groups) > 1 else "",
        commands="\n".join(_command(made) for made in (teacher, run) if made is not None),
        versions=f"With {', '.join(f'{name} {value}' for name, value in run.versions.items())}."
        if run.versions
        else "",
        intended=_intended(run),
        limits="\n".join(f"- {limit}" for limit in _limits(run, own, base_size)),
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


def _summary(run: Run, model: Network) -> str:
    method = run.config.get("method", "none")
    how = "trained on labels alone" if method == "none" else f"distilled from a larger network by `{method}`"
    return (
        f"A network that labels every pixel of an image as one of {model.num_classes} classes, {how} on "
        f"{run.config['dataset']}: `{network_name(run.config)}`, "
        f"{run.results['parameters'] / 1e6:.2f} M parameters, mIoU {run.results['mIoU']:.2f} %."
    )


def _use(name: str) -> str:
    return (
        "```python\n"
        "from fakd import Segmentor\n\n"
        f'model = Segmentor.from_pretrained("{name}")  # a folder, or its name on the Hub; in eval mode\n'
        "scores = model(images).logits  # images (B, 3, H, W), RGB in [0, 1]\n"
        "```\n\n"
        "In a folder on this machine, masks of a folder of images: `fakd predict FOLDER images masks --overlay`.\n"
    )


def _data_set(run: Run) -> str:
    classes = ", ".join(map(_plain, run.classes))
    kind = "images and masks of the author's own" if run.config["dataset"] == "folder" else f"{run.config['dataset']}"
    return f"{kind[0].upper()}{kind[1:]}, {len(run.classes)} classes: {classes}."


def _licence(run: Run, given: str | None) -> str:
    spec = DATASETS.get(run.config["dataset"])
    known = f" fakd says of {spec.name}: {spec.notice}" if spec and spec.notice else ""
    if given:
        return f"**Licence of the data:** {_plain(given)}{known}"
    return (
        f"**{TODO}: the licence of the data.** Say here under which terms images and labels may be used and what they "
        f"allow for networks trained on them, and set `license` at the head of this file.{known}"
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
    said = "This is the only run of its kind that was found: how much its scores owe to its seed is not known."
    if len(own.runs) > 1:
        lines.append(["mean ± sd", *_spreads(own)])
        said = f"{len(own.runs)} runs that differ in their seed alone; sd is the sample standard deviation."
    return f"{said}\n\n{markdown_lines([['seed', *(f'{score} %' for score in _SCORES)], *lines])}"


def _methods(groups: Sequence[Group]) -> str:
    lines = [[_plain(group.label), str(len(group.runs)), *_spreads(group)] for group in groups]
    head = ["run", "seeds", *(f"{score} %" for score in _SCORES)]
    return f"Mean ± sample standard deviation over seeds, on the same data.\n\n{markdown_lines([head, *lines])}"


def _spreads(group: Group) -> list[str]:
    return [spread_text(group.spread(name), 2) for name in _SCORES]


def _command(run: Run) -> str:
    """The command line of a run; of absolute paths only the last part is kept."""
    return shlex.join(map(without_folders, command_words(run.config)))


def _intended(run: Run) -> str:
    return (
        f"Finding the classes above in images like those of {run.config['dataset']}: for research on segmentation and "
        "on distillation, as a baseline, and as a start for training on data of one's own."
    )


def _limits(run: Run, own: Group, base_size: Sequence[int] | None) -> Iterator[str]:
    yield (
        "Its scores are of the validation split of one data set. Other cameras, places, seasons, weather and light "
        "were not tried."
    )
    if base_size:
        yield (
            f"It saw images fitted into {size_text(base_size)} (height x width); what is small there is lost, and "
            "images of other sizes should be fitted likewise, as `fakd predict` does."
        )
    poor = [name for name, value in run.results["IoU"].items() if value is not None and value < _POOR]
    if poor:
        yield f"Classes that it hardly finds, with an IoU below {_POOR:g} %: {', '.join(map(_plain, poor))}."
    if absent := [name for name, value in run.results["IoU"].items() if value is None]:
        yield f"Classes without a pixel in that split, whose scores are not known: {', '.join(map(_plain, absent))}."
    yield "Every pixel gets one of the classes, also what is none of them; there is no measure of its doubt."
    if run.config.get("method", "none") != "none":
        yield "It was taught by a network whose errors it may have learnt."
    if (steps := run.results.get("steps", _PAPER_STEPS)) < _PAPER_STEPS:
        yield f"It was trained for {steps:,} steps; the paper's protocol has {_PAPER_STEPS:,}."
    if len(own.runs) == 1:
        yield "One seed: a difference to another method may be chance."
    yield (
        "It was not examined for bias between groups of people, for attacks, or for any use on which safety depends: "
        "not to be used there without tests of one's own."
    )


def _percent(value: float | None) -> str:
    return "-" if value is None else f"{value:.2f}"


def _plain(text: str) -> str:
    """What a user called something, as text that no reader takes for markup."""
    words = html.escape(" ".join(text.split()), quote=False)
    return "".join(f"\\{character}" if character in r"\`*_[]" else character for character in words)
