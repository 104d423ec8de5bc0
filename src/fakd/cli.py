"""The command line: every command is a plain function of one dataclass, whose fields are its options."""

import inspect
import json
import os
import re
import sys
import textwrap
from collections.abc import Callable, Container, Sequence
from pathlib import Path
from pkgutil import resolve_name
from typing import Annotated, Any, get_type_hints

from cyclopts import App, CycloptsError, Parameter, UnknownCommandError
from cyclopts.argument import ArgumentCollection
from cyclopts.config import Dict
from cyclopts.help import HelpPanel
from rich.console import Console, ConsoleOptions

from fakd import __version__
from fakd.console import console, memory_advice, quiet_libraries, say_error
from fakd.options import at_home

COMMANDS = {
    "demo": "fakd.commands.demo:demo",
    "train": "fakd.training:train",
    "distill": "fakd.training:distill",
    "evaluate": "fakd.commands.evaluate:evaluate",
    "predict": "fakd.commands.predict:predict",
    "serve": "fakd.commands.serve:serve",
    "inspect": "fakd.commands.inspect:inspect_networks",
    "convert": "fakd.commands.convert:convert",
    "export": "fakd.commands.export:export",
    "benchmark": "fakd.commands.benchmark:benchmark",
    "compare": "fakd.commands.compare:compare",
    "ablate": "fakd.commands.ablate:ablate",
    "run": "fakd.commands.run:run",
    "tune": "fakd.commands.tune:tune",
    "analyze": "fakd.commands.analyze:analyze",
    "report": "fakd.commands.report:report",
    "share": "fakd.commands.share:share",
    "paper": "fakd.commands.paper:paper",
    "recipes": "fakd.commands.recipes:recipes",
    "replay": "fakd.commands.replay:replay",
    "data prepare": "fakd.commands.data_prepare:prepare",
    "data check": "fakd.commands.data_check:check_dataset",
    "data show": "fakd.commands.data_show:show",
}
"""Where the function of every command is: imported when it is called."""

SUMMARIES = {
    "demo": "Distil a trained teacher on drawn street scenes; ends with a table and a report, after less than four "
    "minutes.",
    "train": "Train a network on labels alone, as a teacher or as a baseline.",
    "distill": "Distil a trained teacher into a student.",
    "evaluate": "Score a trained network on a data set's validation split: IoU and accuracy per class, mIoU, mAcc, "
    "aAcc.",
    "predict": "Write the masks that a trained network predicts: class indices and colours, as PNG.",
    "serve": "Open a page on this machine to try a trained network, and its teacher beside it.",
    "inspect": "Show what networks are and where a method attaches to them, without data or training.",
    "convert": "Translate a checkpoint of MMSegmentation into this project's form, or the other way.",
    "export": "Write a trained network for other programs: ONNX, checked at once against PyTorch, or safetensors.",
    "benchmark": "Time networks on this machine, in turns: latency, throughput, memory, arithmetic and parameters.",
    "compare": "Run several methods with several seeds on one data set, and compare them with the student alone.",
    "ablate": "Change the options of a method one at a time, and compare with its defaults.",
    "run": "Do one run of a plan that `fakd compare --plan` or `fakd ablate --plan` wrote, or all of them.",
    "tune": "Search good options for methods, each by as many trials, without a look at the validation split.",
    "analyze": "Show where finished runs differ: by class, at boundaries, in confidence, in features and their "
    "covariance.",
    "report": "Write finished runs as one self-contained page: tables, plots, pictures, and the commands that repeat "
    "them.",
    "share": "Make a folder to share from a finished run: its network, and a model card; --push uploads it.",
    "paper": "List the command line behind every row of the paper's tables, beside the published scores.",
    "recipes": "List the recipes of training, and what each sets; any option that is given overrides it.",
    "replay": "Compute a step whose loss was infinite or NaN once more, and show where that began.",
    "data": "Get a data set ready, check it, look at it.",
    "data prepare": "Fetch and convert a published data set; run it again to go on after an interruption.",
    "data check": "Open every file of a data set once: list all faults, count the images and the pixels of every "
    "class.",
    "data show": "Draw a contact sheet of a data set: images, labels over them, and what training makes of both.",
}
"""What `fakd --help` says of each without importing it: the first sentence of its options' docstring."""

_USER_ERRORS = (ValueError, OSError, ModuleNotFoundError)
"""What a user can mend, as an extra that is not installed; all else, but a lack of memory, is a bug."""
_COMPLETION = "--install-completion"
_INDENT = 26  # of what help says of an option


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command.

    Returns:
        The exit status: 0, 1 for a user's mistake, 2 for a wrong option, 75 where another process is at work on the
        run, 130 where it was stopped.
    """
    quiet_libraries()
    options: dict[str, Any] = {}
    try:
        function, config = parse(sys.argv[1:] if arguments is None else arguments)
        options = vars(config)
        outcome = function(config)
    except KeyboardInterrupt:
        console.print("stopped")
        return 130
    except Exception as error:
        message = memory_advice(error, options) or (_own_words(error) if isinstance(error, _USER_ERRORS) else None)
        if message is None or os.environ.get("FAKD_TRACEBACK"):
            raise
        say_error(message)
        return getattr(error, "exit_status", 1)
    return 130 if outcome is None else 0


def parse(words: Sequence[str]) -> tuple[Callable[[Any], Any], Any]:
    """The function of the command that is typed, and the config to call it with.

    Raises:
        SystemExit: help or the version was asked for, and is printed; or with status 2, the words are no command.
        ValueError: the options contradict each other, or a value is out of range.
    """
    words = _joined(words)
    typed = [name for name in COMMANDS if words[: len(name.split())] == name.split()]
    app = _app(COMMANDS if words[:1] == [_COMPLETION] else typed)
    try:
        command, bound, _ = app.parse_args(words, exit_on_error=False, print_error=False)
        if " ".join(words) in {name.rpartition(" ")[0] for name in COMMANDS}:
            raise CycloptsError(f"say which command: {', '.join(_below(' '.join(words)))}.")
    except CycloptsError as error:
        say_error(_told(error))
        raise SystemExit(2) from None
    if not isinstance(command, type):  # what prints help, or the version
        command(*bound.args, **bound.kwargs)
        raise SystemExit(0)
    function = resolve_name(COMMANDS[typed[0]])
    # null is nothing for words and paths too, as --init null over a file's
    options = {name: None if str(value) == "null" else at_home(value) for name, value in bound.arguments.items()}
    options.pop("config", None)
    config = config_class(function)
    return function, getattr(config, "typed", config)(**options)


def config_class(function: Callable[[Any], Any]) -> Any:
    """The dataclass of options that a command's function takes."""
    return next(iter(get_type_hints(function).values()))


def _app(names: Container[str]) -> App:
    """All commands; only those that are named are imported, for their options."""
    app = App(
        name="fakd",
        help="Feature-augmented knowledge distillation for semantic segmentation.",
        version=__version__,
        help_format="plaintext",
        help_formatter=_Help(),
        config=_add_config_file,
        # a file may be called [1].jpg; of an option that is given twice the last one counts
        default_parameter=Parameter(negative_iterable=(), json_list=False, allow_repeating=True),
        group_parameters="Options",
    )
    app.register_install_completion_command(_COMPLETION, help="Let the shell complete commands and options.")
    groups = {"": app}
    for place, (name, path) in enumerate(COMMANDS.items()):
        group, _, last = name.rpartition(" ")
        if group not in groups:
            groups[group] = App(name=group, help=SUMMARIES[group], sort_key=place)
            app.command(groups[group])
        if name in names:
            options = _options(config_class(resolve_name(path)))
            epilogue = _describe_methods() if name in ("distill", "tune") else None
            groups[group].command(options, last, help=options.__doc__, help_epilogue=epilogue, sort_key=place)
        else:
            groups[group].command(path, last, help=SUMMARIES[name], sort_key=place)
    return app


def _options(config: type) -> type:
    """A config class as the library shall see it: what is required goes by place, and --config is one more option."""
    annotations: dict[str, Any] = {}
    parameters = []
    for name, parameter in inspect.signature(config).parameters.items():
        if parameter.kind is parameter.POSITIONAL_OR_KEYWORD and parameter.default is parameter.empty:
            names = Parameter(name=(name.upper(), f"--{name.replace('_', '-')}"))
            annotations[name] = Annotated[parameter.annotation, names]
            parameter = parameter.replace(kind=parameter.POSITIONAL_ONLY)
        parameters.append(parameter)
    annotations["config"] = Annotated[Path | None, Parameter(help="YAML file of options, which those typed override.")]
    parameters.append(inspect.Parameter("config", inspect.Parameter.KEYWORD_ONLY, default=None))
    paragraphs = (inspect.getdoc(config) or "").split("\n\n")
    about = "\n\n".join(" ".join(paragraph.split()) for paragraph in paragraphs)
    own = {"__doc__": about, "__annotations__": annotations, "__signature__": inspect.Signature(parameters)}
    return type(config.__name__, (config,), own)


def _add_config_file(app: App, commands: tuple[str, ...], arguments: ArgumentCollection) -> None:
    """Take from the file that --config names what was not typed."""
    from fakd.data.plain_yaml import read_yaml

    argument = arguments.get("--config", None)
    if argument is None or not argument.tokens:
        return
    path = at_home(argument.tokens[0].value)
    try:
        given = json.loads(path) if path.startswith("{") else read_yaml(Path(path))  # the options themselves, as JSON
        values = json.loads(json.dumps(given or {}, default=str))  # names that are numbers as words
    except (OSError, ValueError) as error:
        raise CycloptsError(f"--config {path}: {error}") from None
    typed = {id(argument): argument.tokens for argument in arguments if any(token.keys for token in argument.tokens)}
    for argument in arguments:  # such as --options.strength: the file's other options come to it
        argument.tokens = [] if id(argument) in typed else argument.tokens
    Dict(values, source=path, use_commands_as_keys=False)(app, commands, arguments)
    for argument in arguments:
        if own := typed.get(id(argument)):
            names = {token.keys for token in own}
            argument.tokens = [*own, *(token for token in argument.tokens if token.keys and token.keys not in names)]


def _joined(words: Sequence[str]) -> list[str]:
    """With --resume true, as releases before 0.3 took it, as --resume=true."""
    joined: list[str] = []
    for word in words:
        if word.lower() in ("true", "false", "null") and joined and re.fullmatch("--[^=]+", joined[-1]):
            joined[-1] += f"={word}"
        else:
            joined.append(word)
    return joined


def _below(group: str) -> list[str]:
    """The commands of a group, or of them all."""
    return list(dict.fromkeys(name.removeprefix(group).split()[0] for name in COMMANDS if name.startswith(group)))


def _own_words(error: BaseException) -> str:
    """What the error says; PyTorch puts the whole traceback before it where a loader's process has raised it."""
    text = str(error)
    return text.rpartition(f"{type(error).__name__}: ")[2].strip() if text.startswith("Caught ") else text


def _told(error: CycloptsError) -> str:
    """What the library says of a wrong word, with what it leaves out: names of options, for lists of a file."""
    if isinstance(error, UnknownCommandError):
        group = " ".join(error.command_chain or ())
        return f"{str(error).partition(' Available')[0]} The commands are {', '.join(_below(group))}."
    name = error.argument.name if error.argument else ""
    return str(error) if name.lstrip("-") in str(error).replace("_", "-") else f"{name}: {error}"


class _Help:
    """Help as plain text, an option's names before what it is."""

    def __call__(self, console: Console, options: ConsoleOptions, panel: HelpPanel) -> None:
        if panel.entries:
            console.print(f"{panel.title}:", markup=False)
        for entry in panel.entries:
            names = ", ".join(entry.display_labels_with_metavar)
            notes = [f"[{', '.join(entry.choices)}]"] if entry.choices else []
            notes += [f"[default: {entry.default}]"] if entry.default is not None else []
            notes += ["[required]"] if entry.required else []
            about = getattr(entry.description, "primary_renderable", "")
            text = " ".join(" ".join([str(about), *notes]).split())
            first = f"  {names:<{_INDENT - 4}}  "
            lines = textwrap.wrap(text, console.width - _INDENT)
            if len(first) > _INDENT or not lines:
                lines.insert(0, "")
            for place, line in enumerate(lines):
                start = " " * _INDENT if place else first
                console.print((start + line).rstrip(), markup=False, highlight=False, soft_wrap=True)
        if panel.entries:
            console.print()


def _describe_methods() -> str:
    from fakd.methods import METHODS, method_options

    lines = ["methods and their options, with defaults:"]
    for name in METHODS:
        options = [f"{key} {option.default}" for key, option in method_options(name).items()]
        text = ", ".join(options) or "no options"
        lines.append(textwrap.fill(text, 79, initial_indent=f"  {name:<14}", subsequent_indent=" " * 16))
    return "\n".join(lines)
