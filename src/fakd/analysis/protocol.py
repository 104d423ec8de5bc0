"""How runs were carried out, as lines of a table; paths of whoever made them are left out."""

import re
from collections.abc import Mapping, Sequence
from pathlib import PurePath
from typing import Any

from fakd.analysis.paper_rows import run_teacher_network
from fakd.analysis.run_options import changed_options, run_inference, with_defaults
from fakd.analysis.runs import Run
from fakd.data import DATASETS, DatasetSpec
from fakd.evaluation.ensembles import teacher_names

# A path from the root on, at the start of a word or behind what separates its parts.
_ABSOLUTE = re.compile(r"(?:(?<=[:=@,])|^)/[^:=@,]*")


def protocol_lines(run: Run, teacher: Run | None, base_size: Sequence[int] | None) -> list[list[str]]:
    """What was done in a run, a line each: its name, and what to say of it.

    Args:
        run: finished.
        teacher: the run that taught it, where that is at hand.
        base_size: (height, width) that images were fitted into, where the network's file says it.
    """
    options = with_defaults(run.config)
    about = f"`{network_name(options)}`, {run.results['parameters']:,} parameters; {start_text(options)}"
    lines = [["network", about]]
    if "method" in options:
        lines += [["method", _method(options)], ["teacher", _teacher(run, teacher)]]
    return [
        *lines,
        ["steps", f"{run.results.get('steps', options['max_steps']):,}"],
        *training_lines(options, DATASETS.get(options["dataset"]), base_size),
        ["seed", str(options["seed"])],
        ["training took", f"{run.results['seconds']:,.0f} s, {run.results['seconds_per_step']:.3f} s a step"],
    ]


def training_lines(
    config: Mapping[str, Any], spec: DatasetSpec | None, base_size: Sequence[int] | None
) -> list[list[str]]:
    """What the options of a run say of images, optimizer and evaluation.

    Args:
        config: the run's options.
        spec: of the data set; None where that is not at hand.
        base_size: (height, width) that images were fitted into; None where nobody says it.
    """
    options = with_defaults(config)
    images = f"fitted into {size_text(base_size)} (height x width), " if base_size else ""
    colours = ", brightness, contrast, saturation and hue varied" if options["photometric"] else ""
    size = options["crop_size"] or (spec.crop_size if spec else None)
    crop = "as large as the data set's default" if size is None else size_text(size)
    inference = run_inference(options).inference(spec.window if spec else None)
    window, scales = inference.window, ", ".join(f"{scale:g}" for scale in inference.scales)
    evaluation = [
        "whole images" if window is None else f"windows of {size_text(window.size)}, {size_text(window.stride)} apart",
        *[f"scales {scales}"] * (inference.scales != (1.0,)),
        *["flip"] * inference.flip,
        *[f"on {options['holdout']:.0%} of the training images, held out"] * bool(options["holdout"]),
    ]
    return [
        ["training images", f"{images}random scale {'-'.join(f'{x:g}' for x in options['scale'])}, flip{colours}"],
        ["crops", f"{crop}, {options['batch_size']} in a step"],
        [
            "optimizer",
            f"{optimizer_text(options)}, auxiliary loss {options['aux_weight']:g}, {options['precision']}",
        ],
        *[["loss on labels", text] for text in [_label_loss(options)] if text],
        ["evaluation", f"{', '.join(evaluation)}, scored at the labels' own size; {_weights(options)}"],
    ]


def optimizer_text(options: Mapping[str, Any]) -> str:
    """What moved the weights of a run, whose options are complete."""
    name = options["optimizer"]
    fall = {
        "poly": f" falling by (1 - t/T)^{options['poly_power']:g}",
        "cosine": " falling by a cosine",
        "constant": ", constant",
    }[options["schedule"]]
    said = [
        f"{name.upper() if name == 'sgd' else name}, learning rate {options['learning_rate']:g}{fall}",
        *[f"{options['warmup_steps']:,} steps of warm-up"] * bool(options["warmup_steps"]),
        *[f"{options['backbone_lr_factor']:g} of it for the encoder"] * (options["backbone_lr_factor"] != 1),
        *[f"{options['layer_decay']:g} of it from layer to layer of the encoder"] * (options["layer_decay"] != 1),
        *[f"momentum {options['momentum']:g}"] * (name in ("sgd", "nesterov")),
        f"weight decay {options['weight_decay']:g}{'' if name == 'sgd' else ' but for biases and norms'}",
        *[f"gradients of at most {options['clip_grad']:g}"] * bool(options["clip_grad"]),
        *[f"{options['accumulate']} parts of a step"] * (options["accumulate"] != 1),
    ]
    return ", ".join(said)


def _label_loss(options: Mapping[str, Any]) -> str:
    """Which loss the labels had; nothing where it is plain cross-entropy."""
    weights, smoothing = options["class_weights"], options["label_smoothing"]
    said = [
        *[f"classes weighed: {without_folders(weights)}"] * (weights != "none"),
        *[f"labels smoothed by {smoothing:g}"] * bool(smoothing),
    ]
    return ", ".join([options["loss"], *said]) if said or options["loss"] != "ce" else ""


def _weights(options: Mapping[str, Any]) -> str:
    step = "last step" if options["report"] == "last" else "best evaluation, chosen on these images"
    mean = f", their mean with decay {options['ema']:g}" if options["ema"] else ""
    return f"the weights of the {step}{mean}"


def start_text(options: Mapping[str, Any]) -> str:
    """Where the weights of a run came from."""
    for name, what in (("init", "weights"), ("backbone_weights", "encoder")):
        if options.get(name):
            return f"{what} from `{without_folders(str(options[name]))}`"
    return "from random weights"


def without_folders(word: str) -> str:
    """The word with the last part alone of every absolute path, also behind what names a library or a network.

    Example:
        >>> without_folders("smp:unet/resnet34=/home/me/weights.pth")
        'smp:unet/resnet34=weights.pth'
    """
    return _ABSOLUTE.sub(lambda found: PurePath(found.group()).name, word)


def size_text(size: Sequence[int]) -> str:
    """As 96x144."""
    return "x".join(map(str, size))


def network_name(options: Mapping[str, Any]) -> str:
    """The network that learnt, as its run's options name it."""
    return without_folders(str(options.get("student") or options["network"]))


def _method(options: Mapping[str, Any]) -> str:
    changed = ", ".join(f"{name} {value}" for name, value in changed_options(options).items())
    alone = ", the student alone" if options["method"] == "none" else ""
    return f"`{options['method']}`{alone}" + (f" with {changed}; other options are the defaults" if changed else "")


def _teacher(run: Run, teacher: Run | None) -> str:
    network = run_teacher_network(run, teacher)
    scores, teachers = run.results.get("teacher"), teacher_names(run.config["teacher"])
    known = [f"`{network}`"] if network else [", ".join(f"`{without_folders(name)}`" for name in teachers)]
    if len(teachers) > 1:
        known[0] = f"{len(teachers)} teachers, the mean of their probabilities{_weighed(run)}: {known[0]}"
    if scores:
        known.append(", ".join(f"{name} {scores[name]:.2f} %" for name in ("mIoU", "mAcc", "aAcc")))
    return ": ".join(known)


def _weighed(run: Run) -> str:
    weights = run.config.get("teacher_weights")
    return f" weighed {', '.join(f'{weight:g}' for weight in weights)}" if weights else ""
