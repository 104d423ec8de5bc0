"""What `--help` prints: which options stand together, in which order, and how an option is laid out."""

import inspect
import textwrap
from collections.abc import Mapping
from typing import Annotated, Any, TypeVar

from cyclopts import Group, Parameter
from cyclopts.help import HelpEntry, HelpPanel
from rich.console import Console, ConsoleOptions

START = {
    "demo": "see it work, in four minutes",
    "distill --teacher toy-scenes": "a small network learns from a large one",
    "evaluate runs/RUN": "its scores, class by class",
    "predict runs/RUN photos/ masks/": "its masks for your own images",
    "export runs/RUN student.onnx": "a file for other programs",
}
"""The main path: what `fakd` alone says, each with what comes of it."""

COMMAND_GROUPS = {
    "First steps": ("demo", "train", "distill", "evaluate", "predict", "export"),
    "Your data": ("data",),
    "Many runs": ("compare", "ablate", "tune", "run"),
    "Looking closer": ("serve", "inspect", "benchmark", "analyze", "report"),
    "Sharing": ("convert", "share"),
    "What there is": ("methods", "recipes", "paper", "replay"),
}
"""How `fakd --help` sorts the commands."""

EXAMPLES = {
    "demo": "fakd demo",
    "train": "fakd train --network pspnet-r18 --dataset folder --data-root photos",
    "distill": "fakd distill --teacher toy-scenes --student pspnet-r18",
    "evaluate": "fakd evaluate runs/toy-scenes/pspnet-r18-fakd-seed0",
    "predict": "fakd predict runs/toy-scenes/pspnet-r18-fakd-seed0 photos/ masks/ --overlay",
    "serve": "fakd serve runs/toy-scenes/pspnet-r18-fakd-seed0",
    "inspect": "fakd inspect pspnet-r18 --teacher toy-scenes --method fakd",
    "convert": "fakd convert mmseg.pth teacher.safetensors --dataset cityscapes",
    "export": "fakd export runs/toy-scenes/pspnet-r18-fakd-seed0 student.onnx",
    "benchmark": "fakd benchmark pspnet-r101 pspnet-r18 --size 256",
    "compare": "fakd compare --teacher toy-scenes --methods none,cwd,fakd --seeds 3",
    "ablate": "fakd ablate --teacher toy-scenes --method fakd --vary.strength 0.5,1,2",
    "tune": "fakd tune --teacher toy-scenes --method cwd,fakd --trials 20",
    "run": "fakd run plan.jsonl --all",
    "analyze": "fakd analyze runs/compare -o analysis",
    "report": "fakd report runs/compare -o report.html",
    "share": "fakd share runs/toy-scenes/pspnet-r18-fakd-seed0 my-student",
    "paper": "fakd paper --dataset cityscapes --method fakd",
    "methods": "fakd methods fakd",
    "recipes": "fakd recipes",
    "replay": "fakd replay runs/toy-scenes/pspnet-r18-fakd-seed0/nonfinite/step.pt",
    "data prepare": "fakd data prepare camvid data/camvid",
    "data import": "fakd data import coco export/ photos",
    "data check": "fakd data check folder photos",
    "data show": "fakd data show folder photos",
}
"""One line of every command to start from."""

_FEW = "Advanced: "
OPTION_GROUPS = {
    "Essentials": "teacher teacher_network network student students dataset data_root method methods baseline table "
    "vary trials search seeds output epochs max_steps",
    "Data": "crop_size workers",
    "Network": "backbone_weights init",
    "Recipe": "recipe batch_size learning_rate optimizer",
    "Method": "options method_options",
    "Evaluation": "eval_every",
    "Machine": "accelerator devices precision jobs",
    "Run folder": "seed resume overwrite config",
    f"{_FEW}data": "base_size scale photometric cache_images check_data holdout bands value_range",
    f"{_FEW}images without labels": "unlabelled unlabelled_batch val_share",
    f"{_FEW}network": "output_stride head_channels dropout aux_weight",
    f"{_FEW}recipe": "schedule poly_power warmup_steps weight_decay momentum backbone_lr_factor layer_decay "
    "freeze_backbone accumulate clip_grad ema loss class_weights label_smoothing ce_average",
    f"{_FEW}teachers of other classes, or several": "class_map teacher_classes teacher_weights allow_bad_teacher "
    "teacher_options",
    f"{_FEW}teacher cache": "teacher_cache teacher_cache_format teacher_views",
    f"{_FEW}evaluation": "patience report mode window stride flip scales at_least prune",
    f"{_FEW}machine": "num_nodes channels_last compile engine ray_address cpus",
    f"{_FEW}run folder": "checkpoint_every keep_checkpoints log_every allow_changed_data tracker tracker_group plan "
    "budget minutes sort",
}
"""The options of commands that train, essentials first; other commands have two of these groups, after their own."""

_EVERYWHERE = (f"{_FEW}teachers of other classes, or several", f"{_FEW}evaluation")
_INDENT = 26  # of what help says of an option
_GLUE = "\N{NO-BREAK SPACE}"


Named = TypeVar("Named")


def titled(groups: Mapping[str, Named]) -> list[tuple[Group, Named]]:
    """Groups as the library has them, in this order, each with what is in it."""
    return [(Group(title, sort_key=place), names) for place, (title, names) in enumerate(groups.items(), start=1)]


def options_for_help(config: type) -> type:
    """A config class as the library shall see it, option by option as help lists them.

    What is required goes by place, and --config is one more option.
    """
    parameters = list(inspect.signature(config).parameters.values())
    parameters.append(inspect.Parameter("config", inspect.Parameter.KEYWORD_ONLY, default=None, annotation=_CONFIG))
    trains = any(parameter.name == "recipe" for parameter in parameters)
    places = {name: place for place, name in enumerate(" ".join(OPTION_GROUPS.values()).split())}
    groups = {
        name: group
        for group, names in titled(OPTION_GROUPS)
        for name in names.split()
        if trains or group.name in _EVERYWHERE
    }
    annotations: dict[str, Any] = {}
    for place, parameter in enumerate(parameters):
        said = []
        if parameter.kind is parameter.POSITIONAL_OR_KEYWORD and parameter.default is parameter.empty:
            names = (parameter.name.upper(), f"--{parameter.name.replace('_', '-')}")
            said.append(Parameter(name=names))
            parameters[place] = parameter.replace(kind=parameter.POSITIONAL_ONLY)
        elif parameter.name in groups:
            said.append(Parameter(group=groups[parameter.name]))
        annotations[parameter.name] = Annotated[parameter.annotation, *said] if said else parameter.annotation
    if trains:
        parameters.sort(key=lambda parameter: places.get(parameter.name, len(places)))
    paragraphs = (inspect.getdoc(config) or "").split("\n\n")
    about = "\n\n".join(" ".join(paragraph.split()) for paragraph in paragraphs)
    own = {"__doc__": about, "__annotations__": annotations, "__signature__": inspect.Signature(parameters)}
    return type(config.__name__, (config,), own)


_CONFIG = Annotated[Any, Parameter(help="YAML file of options; those that are typed override it.", metavar="FILE")]


def print_group(console: Console, options: ConsoleOptions, panel: HelpPanel, *, methods: bool = False) -> None:
    """Print one group of help as plain text, an option's names before what it is.

    Args:
        console: where to.
        options: of the console.
        panel: the group.
        methods: whether the options of the methods are listed in the group of that name.
    """
    if not panel.entries:
        return
    lines = [f"{panel.title}:"]
    for entry in panel.entries:
        first = f"  {', '.join(_names(entry)):<{_INDENT - 4}}  "
        about = [line.replace(_GLUE, " ") for line in textwrap.wrap(_about(entry), console.width - _INDENT)]
        if len(first) > _INDENT or not about:
            about.insert(0, "")
        lines += [first + about[0], *(" " * _INDENT + line for line in about[1:])]
    if methods and panel.title == "Method":
        lines += _described_methods(console.width)
    for line in [*lines, ""]:
        console.print(line.rstrip(), markup=False, highlight=False, soft_wrap=True)


def _names(entry: HelpEntry) -> tuple[str, ...]:
    """Of a switch that is off by default, the name that turns it on."""
    names = entry.display_labels_with_metavar
    if entry.default == "False" and entry.negative_names:
        return entry.positive_names
    return tuple(f"{name}.NAME VALUE" if _is_mapping(entry) else name for name in names)


def _is_mapping(entry: HelpEntry) -> bool:
    """Whether it is given name by name."""
    return entry.metavar is None and entry.type is not None and "dict" in str(entry.type)


def _about(entry: HelpEntry) -> str:
    notes = [f"[{', '.join(entry.choices)}]"] if entry.choices else []
    default = entry.names[0] if entry.default == "True" else entry.default
    notes += [f"[default:{_GLUE}{default}]"] if default not in (None, "False", "{}", "[]", "") else []
    notes += ["[required]"] if entry.required else []
    return " ".join([*str(getattr(entry.description, "primary_renderable", "")).split(), *notes])


def _described_methods(width: int) -> list[str]:
    from fakd.methods import METHODS, method_options

    lines = ["", "  NAMEs of each method; what they mean: fakd methods METHOD"]
    for name in METHODS:
        text = ", ".join(method_options(name)).replace("_", "-") or "no options"
        lines += textwrap.wrap(
            text, width - 1, initial_indent=f"  {name:<14}", subsequent_indent=" " * 16, break_on_hyphens=False
        )
    return lines


def first_page() -> str:
    """What `fakd` alone prints: the main path, in the order in which it is walked."""
    lines = ["fakd distils large segmentation networks into small ones.", ""]
    for command, result in START.items():
        lines.append(f"  fakd {command:<34}{result}")
    lines += ["", "All commands: fakd --help", "One of them:  fakd distill --help"]
    return "\n".join(lines)
