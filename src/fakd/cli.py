"""The command line: every command is a plain function of one dataclass, whose fields are its options."""

import inspect
import json
import os
import re
import sys
from collections.abc import Callable, Container, Sequence
from functools import partial
from pathlib import Path
from pkgutil import resolve_name
from typing import Any, get_type_hints

from cyclopts import App, CycloptsError, Group, Parameter
from cyclopts.argument import ArgumentCollection
from cyclopts.config import Dict

from fakd import __version__
from fakd.console import console, memory_advice, quiet_libraries, say_error
from fakd.help import COMMAND_GROUPS, EXAMPLES, first_page, options_for_help, print_group, titled
from fakd.mistakes import as_typed, told, translated
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
    "methods": "fakd.commands.methods:methods",
    "recipes": "fakd.commands.recipes:recipes",
    "paper": "fakd.commands.paper:paper",
    "replay": "fakd.commands.replay:replay",
    "data prepare": "fakd.commands.data_prepare:prepare",
    "data import": "fakd.commands.data_import:import_dataset",
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
    "methods": "List the distillation methods: what each asks of the teacher, costs and comes from; and their options.",
    "recipes": "List the recipes of training, and what each sets; any option that is given overrides it.",
    "replay": "Compute a step whose loss was infinite or NaN once more, and show where that began.",
    "data": "Get a data set ready, check it, look at it.",
    "data prepare": "Fetch and convert a published data set; run it again to go on after an interruption.",
    "data import": "Make a folder to train on of what another tool exported: shapes become masks, splits are kept.",
    "data check": "Open every file of a data set once: list all faults, count the images and the pixels of every "
    "class.",
    "data show": "Draw a contact sheet of a data set: images, labels over them, and what training makes of both.",
}
"""What `fakd --help` says of each without importing it: the first sentence of its options' docstring."""

_USER_ERRORS = (ValueError, OSError, ModuleNotFoundError)
"""What a user can mend, as an extra that is not installed; all else, but a lack of memory, is a bug."""
_COMPLETION = "--install-completion"


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
        if "torch" in sys.modules:
            from fakd.machine import use_free_cores

            use_free_cores()
        outcome = function(config)
    except KeyboardInterrupt:
        console.print("stopped")
        return 130
    except Exception as error:
        message = memory_advice(error, options) or (_own_words(error) if isinstance(error, _USER_ERRORS) else None)
        if message is None or os.environ.get("FAKD_TRACEBACK"):
            raise
        say_error(as_typed(message, options, first=False))
        return getattr(error, "exit_status", 1)
    return 130 if outcome is None else 0


def parse(words: Sequence[str]) -> tuple[Callable[[Any], Any], Any]:
    """The function of the command that is typed, and the config to call it with.

    Raises:
        SystemExit: help or the version was asked for, and is printed; or with status 2, the words are no command.
        ValueError: the options contradict each other, or a value is out of range.
    """
    words = _joined(words)
    if not words:
        print(first_page())
        raise SystemExit(0)
    typed = [name for name in COMMANDS if words[: len(name.split())] == name.split()]
    app = _app(COMMANDS if words[:1] == [_COMPLETION] else typed)
    try:
        command, bound, _ = app.parse_args(words, exit_on_error=False, print_error=False)
        if " ".join(words) in {name.rpartition(" ")[0] for name in COMMANDS}:
            below = [name for name in COMMANDS if name.startswith(f"{words[0]} ")]
            raise CycloptsError(f"say which command: fakd {', fakd '.join(below)}.")
    except CycloptsError as error:
        say_error(told(error, COMMANDS))
        raise SystemExit(2) from None
    if not isinstance(command, type):  # what prints help, or the version
        command(*bound.args, **bound.kwargs)
        raise SystemExit(0)
    function = resolve_name(COMMANDS[typed[0]])
    # null is nothing for words and paths too, as --init null over a file's
    options = {name: None if str(value) == "null" else at_home(value) for name, value in bound.arguments.items()}
    options.pop("config", None)
    kind = config_class(function)
    try:
        return function, getattr(kind, "typed", kind)(**options)
    except ValueError as error:
        raise translated(error, inspect.signature(kind).parameters, first=True) from None


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
        help_formatter=print_group,
        config=_add_config_file,
        # a file may be called [1].jpg; of an option that is given twice the last one counts
        default_parameter=Parameter(negative_iterable=(), json_list=False, allow_repeating=True),
        group_arguments=Group("Arguments", sort_key=-1),
        group_parameters=Group("Options", sort_key=0),
        group_commands=Group("About fakd itself", sort_key=len(COMMAND_GROUPS) + 1),
    )
    app.register_install_completion_command(_COMPLETION, help="Let the shell complete commands and options.")
    titles = {name: group for group, members in titled(COMMAND_GROUPS) for name in members}
    groups = {"": app}
    for place, (name, path) in enumerate(COMMANDS.items()):
        group, _, last = name.rpartition(" ")
        if group not in groups:
            groups[group] = App(name=group, help=SUMMARIES[group], sort_key=place, group=titles[group])
            app.command(groups[group])
        named = groups[group]
        how: dict[str, Any] = {"sort_key": place, **({} if group else {"group": titles[name]})}
        if name in names:
            options = options_for_help(config_class(resolve_name(path)))
            about = f"{options.__doc__}\n\nExample: {EXAMPLES[name]}"
            named.command(
                options, last, help=about, help_formatter=partial(print_group, methods=name == "distill"), **how
            )
        else:
            named.command(path, last, help=SUMMARIES[name], **how)
    return app


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
        said = "no such file." if isinstance(error, FileNotFoundError) else str(error)
        raise CycloptsError(f"--config {path}: {said}") from None
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


def _own_words(error: BaseException) -> str:
    """What the error says; PyTorch puts the whole traceback before it where a loader's process has raised it."""
    text = str(error)
    return text.rpartition(f"{type(error).__name__}: ")[2].strip() if text.startswith("Caught ") else text
