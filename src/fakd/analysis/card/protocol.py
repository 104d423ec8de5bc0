"""How a run was carried out, as lines of a table; paths of whoever made it are left out."""

import re
import shlex
from collections.abc import Mapping, Sequence
from pathlib import PurePath
from typing import Any

from fakd.analysis.command_line import reproduce
from fakd.analysis.groups import changed_options, with_defaults
from fakd.analysis.published import run_teacher_network
from fakd.analysis.runs import Run
from fakd.data import DATASETS

# A path from the root on, at the start of a word or behind what separates its parts.
_ABSOLUTE = re.compile(r"(?:(?<=[:=@,])|^)/[^:=@,]*")


def protocol_lines(run: Run, teacher: Run | None, base_size: Sequence[int] | None) -> list[list[str]]:
    """What was done, a line each: its name, and what to say of it.

    Args:
        run: finished.
        teacher: the run that taught it, where that is at hand.
        base_size: (height, width) that images were fitted into, where the network's file says it.
    """
    options = with_defaults(run.config)
    lines = [["network", f"`{network_name(options)}`, {run.results['parameters']:,} parameters; {_start(options)}"]]
    if "method" in options:
        lines += [["method", _method(options)], ["teacher", _teacher(run, teacher)]]
    images = f"fitted into {size_text(base_size)} (height x width), " if base_size else ""
    colours = ", brightness, contrast, saturation and hue varied" if options["photometric"] else ""
    lines += [
        ["training images", f"{images}random scale {'-'.join(f'{x:g}' for x in options['scale'])}, flip{colours}"],
        ["crops", f"{_crop(options)}, {options['batch_size']} in a step"],
        ["steps", f"{run.results.get('steps', options['max_steps']):,}"],
        [
            "optimizer",
            f"SGD, learning rate {options['learning_rate']:g} falling by (1 - t/T)^0.9, momentum "
            f"{options['momentum']:g}, weight decay {options['weight_decay']:g}, auxiliary loss "
            f"{options['aux_weight']:g}, {options['precision']}",
        ],
        ["evaluation", f"{_evaluation(options)}, scored at the labels' own size; the weights of the last step"],
        ["seed", str(options["seed"])],
        ["training took", f"{run.results['seconds']:,.0f} s, {run.results['seconds_per_step']:.3f} s a step"],
    ]
    return lines


def command(config: Mapping[str, Any]) -> str:
    """The command line of a run; of absolute paths only the last part is kept."""
    return shlex.join(without_folders(word) for word in shlex.split(reproduce(config)))


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


def _start(options: Mapping[str, Any]) -> str:
    for name, what in (("init", "weights"), ("backbone_weights", "encoder")):
        if options.get(name):
            return f"{what} from `{without_folders(str(options[name]))}`"
    return "from random weights"


def _method(options: Mapping[str, Any]) -> str:
    changed = ", ".join(f"{name} {value}" for name, value in changed_options(options).items())
    alone = ", the student alone" if options["method"] == "none" else ""
    return f"`{options['method']}`{alone}" + (f" with {changed}; other options are the defaults" if changed else "")


def _teacher(run: Run, teacher: Run | None) -> str:
    network = run_teacher_network(run, teacher)
    scores = run.results.get("teacher")
    known = [f"`{network}`"] if network else [f"`{without_folders(str(run.config['teacher']))}`"]
    if scores:
        known.append(", ".join(f"{name} {scores[name]:.2f} %" for name in ("mIoU", "mAcc", "aAcc")))
    return ": ".join(known)


def _crop(options: Mapping[str, Any]) -> str:
    spec = DATASETS.get(options["dataset"])
    size = options["crop_size"] or (spec.crop_size if spec else None)
    return "as large as the data set's default" if size is None else size_text(size)


def _evaluation(options: Mapping[str, Any]) -> str:
    spec = DATASETS.get(options["dataset"])
    window = options["window"] or (spec.window.size if spec and spec.window else None)
    windows = options["mode"] != "whole" and window is not None
    way = f"windows of {size_text(window)}" if windows and window else "whole images"
    scales = [f"scales {', '.join(f'{x:g}' for x in options['scales'])}"] if list(options["scales"]) != [1.0] else []
    return ", ".join([way, *scales, *["flip"] * options["flip"]])
