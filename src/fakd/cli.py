"""The command line: every command is a plain function of one dataclass, whose fields are its options."""

import argparse
import json
import os
import re
import sys
import textwrap
from collections.abc import Callable, Mapping, Sequence
from typing import Any, get_type_hints

import yaml
from jsonargparse import ArgumentParser, DefaultHelpFormatter, get_loader, set_loader, set_parsing_settings
from lightning.fabric.utilities.exceptions import MisconfigurationException

from fakd import __version__
from fakd.commands.ablate import ablate
from fakd.commands.analyze import analyze
from fakd.commands.benchmark import benchmark
from fakd.commands.compare import compare
from fakd.commands.convert import convert
from fakd.commands.data_check import check_dataset
from fakd.commands.data_prepare import prepare
from fakd.commands.data_show import show
from fakd.commands.demo import demo
from fakd.commands.evaluate import evaluate
from fakd.commands.export import export
from fakd.commands.inspect import inspect_networks
from fakd.commands.paper import paper
from fakd.commands.predict import predict
from fakd.commands.replay import replay
from fakd.commands.report import report
from fakd.commands.serve import serve
from fakd.commands.share import share
from fakd.console import console, memory_advice, quiet_libraries, say_error
from fakd.data.plain_yaml import check_yaml
from fakd.methods import METHODS, method_options
from fakd.training import distill, train
from fakd.training.nonfinite import NonFiniteLossError

COMMANDS: dict[str, Callable[[Any], Any]] = {
    "demo": demo,
    "train": train,
    "distill": distill,
    "evaluate": evaluate,
    "predict": predict,
    "serve": serve,
    "inspect": inspect_networks,
    "convert": convert,
    "export": export,
    "benchmark": benchmark,
    "compare": compare,
    "ablate": ablate,
    "analyze": analyze,
    "report": report,
    "share": share,
    "paper": paper,
    "replay": replay,
    "data prepare": prepare,
    "data check": check_dataset,
    "data show": show,
}

_GROUPS = {"data": "Get a data set ready, check it, look at it."}
"""What commands of two words, as `fakd data check`, have in common."""

# Commands whose required options are given by place: fakd predict MODEL IMAGES OUTPUT.
_BY_PLACE = (
    *("evaluate", "predict", "serve", "inspect", "convert", "export", "share", "replay"),
    *("data prepare", "data check", "data show"),
)
# ... or by as many places as there are: fakd report RUN RUN.
_MANY_PLACES = {"analyze": "runs", "report": "runs", "benchmark": "models"}
# ... or, between the first and the last, by as many as there are: fakd predict MODEL IMAGE IMAGE OUTPUT.
_MIDDLE_PLACES = ("predict",)
# ... and the one more that may be: fakd data check NAME [ROOT].
_LAST_PLACE = {"data check": "root", "data show": "root"}

# What a user can mend, a package of an extra that is not installed among it. Anything else, but for a lack of memory,
# is a bug of ours and keeps its traceback.
_USER_ERRORS = (ValueError, OSError, ModuleNotFoundError, NonFiniteLossError, MisconfigurationException)

_load_yaml = get_loader("yaml")

_BOOLS = (bool, bool | None)
_NUMBERS = re.compile(r"[0-9.]+(?:[,x][0-9.]+)*")
_LIST_OPTIONS = {"base_size", "crop_size", "scale", "window", "stride", "scales", "size"}


class _HelpFormatter(DefaultHelpFormatter):
    """Keeps the line breaks of epilogs, and names types as people do."""

    def _get_type_str(self, action: argparse.Action) -> str | None:
        name = super()._get_type_str(action)
        return None if name is None else name.replace("<class 'Path'>", "Path")

    def _fill_text(self, text: str, width: int, indent: str) -> str:
        return text if "\n" in text else super()._fill_text(text, width, indent)


def build_parser() -> ArgumentParser:
    """The parser of all commands."""
    # A dict of options could otherwise name any class to be instantiated.
    set_parsing_settings(docstring_parse_attribute_docstrings=True, instantiate_subclass_spec_in_any=False)
    set_loader("yaml", _load_checked_yaml, exceptions=(yaml.YAMLError, ValueError))
    parser = ArgumentParser(
        prog="fakd",
        allow_abbrev=False,  # --max_step must be an error, not --max_steps
        description="Feature-augmented knowledge distillation for semantic segmentation.",
        version=__version__,
        formatter_class=_HelpFormatter,  # subcommands take it from here
    )
    commands = parser.add_subcommands(required=True, metavar="COMMAND", title="commands")
    groups = {}
    for name, function in COMMANDS.items():
        group, _, rest = name.rpartition(" ")
        if group and group not in groups:
            middle = ArgumentParser(description=_GROUPS[group])
            commands.add_subcommand(group, middle, help=_GROUPS[group])
            groups[group] = middle.add_subcommands(required=True, metavar="COMMAND", title="commands")
        config_class = _config_class(function)
        command = ArgumentParser(
            allow_abbrev=False,
            description=_summary(config_class),
            epilog=_epilog(name),
        )
        command.add_argument("--config", action="config", help="YAML file of options; flags after it override it.")
        command.add_class_arguments(config_class, as_group=False, as_positional=name in _BY_PLACE)
        (groups[group] if group else commands).add_subcommand(rest, command, help=_summary(config_class))
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; the exit status is 0, 1 for a user's mistake, 2 for a wrong option, 130 where it was stopped."""
    quiet_libraries()
    parsed = build_parser().parse_args(_as_people_write(sys.argv[1:] if arguments is None else arguments))
    name, options = parsed.subcommand, parsed[parsed.subcommand]
    if name in _GROUPS:
        name, options = f"{name} {options.subcommand}", options[options.subcommand]
    function = COMMANDS[name]
    options = options.as_dict()
    options.pop("config", None)
    try:
        outcome = function(_config_class(function)(**options))
    except KeyboardInterrupt:
        console.print("stopped")
        return 130
    except Exception as error:
        message = memory_advice(error, options) or (_own_words(error) if isinstance(error, _USER_ERRORS) else None)
        if message is None or os.environ.get("FAKD_TRACEBACK"):
            raise
        say_error(message)
        return 1
    return 130 if outcome is None else 0


def _own_words(error: BaseException) -> str:
    """What the error says; PyTorch puts the whole traceback before it where a loader's process has raised it."""
    text = str(error)
    return text.rpartition(f"{type(error).__name__}: ")[2].strip() if text.startswith("Caught ") else text


def _load_checked_yaml(text: str) -> Any:
    check_yaml(text)
    return _load_yaml(text)


def _summary(config_class: type) -> str:
    return (config_class.__doc__ or "").strip().splitlines()[0]


def _config_class(function: Callable[[Any], Any]) -> Any:
    return next(iter(get_type_hints(function).values()))


def _as_people_write(arguments: Sequence[str]) -> list[str]:
    """Accept --data-root for --data_root, --resume for --resume true, --crop_size 360,480 for [360,480], -o for
    --output, a ROOT after NAME for --root, RUN RUN for --runs, and MODEL IMAGE IMAGE OUTPUT.
    """
    words = [argument for argument in arguments if not argument.startswith("-")]
    command = next((name for name in (" ".join(words[:2]), *words[:1]) if name in COMMANDS), None)
    types = {} if command is None else get_type_hints(_config_class(COMMANDS[command]))
    last = _LAST_PLACE.get(command or "", "")
    many, gathered = _MANY_PLACES.get(command or "", ""), []
    places = len((command or "").split()) + 1  # the words of the command, and what it requires
    result: list[str] = []
    placed: list[int] = []  # where in it what is given by place stands
    option = ""  # whose value comes next, where it is not given by "="
    for place, argument in enumerate("--output" if argument == "-o" else argument for argument in arguments):
        name, equals, value = argument.partition("=")
        if many and name == f"--{many}" and not value.startswith("["):
            gathered += [value] if value else []  # what follows is given by place
        elif name.startswith("--"):
            option = name[2:].replace("-", "_")
            following = arguments[place + 1] if place + 1 < len(arguments) else ""
            if types.get(option) in _BOOLS and not equals and following.lower() not in ("true", "false", "null"):
                equals, value = "=", "true"
            result.append(f"--{option}{equals}{_plain_value(option, value, types)}")
            option = "" if equals else option
        elif option or argument.startswith("-"):
            result.append(_plain_value(option, argument, types))
            option = ""
        else:
            places -= 1
            placed.append(len(result))
            if many and places < len((command or "").split()):
                gathered.append(argument)
            else:
                result.append(f"--{last}={argument}" if last and places < 0 else argument)
    if command in _MIDDLE_PLACES:
        result = _with_middle_gathered(result, placed[len(command.split()) :])
    return [*result, f"--{many}+={json.dumps(gathered)}"] if gathered else result


def _with_middle_gathered(arguments: Sequence[str], placed: Sequence[int]) -> list[str]:
    """Put all that stand between the first and the last of some places into one list."""
    middle = placed[1:-1]
    if not middle:
        return list(arguments)
    gathered = json.dumps([arguments[place] for place in middle])
    rest = [None if place in middle else argument for place, argument in enumerate(arguments)]
    rest[middle[0]] = gathered
    return [argument for argument in rest if argument is not None]


def _plain_value(option: str, value: str, types: Mapping[str, Any]) -> str:
    if option in _LIST_OPTIONS and _NUMBERS.fullmatch(value):
        return f"[{value.replace('x', ',')}]"
    return value.lower() if types.get(option) in _BOOLS else value


def _epilog(command: str) -> str | None:
    if command == "distill":
        return _describe_methods()
    if many := _MANY_PLACES.get(command):
        word = many.removesuffix("s").upper()
        return f"{many} may be given one after the other: fakd {command} {word} {word}; -o is short for --output."
    if last := _LAST_PLACE.get(command):
        return f"--{last} may be given without its name: fakd {command} NAME {last.upper()}."
    return None


def _describe_methods() -> str:
    lines = ["methods and their options, with defaults:"]
    for name in METHODS:
        options = [f"{key} {option.default}" for key, option in method_options(name).items()]
        text = ", ".join(options) or "no options"
        lines.append(textwrap.fill(text, 79, initial_indent=f"  {name:<14}", subsequent_indent=" " * 16))
    return "\n".join(lines)
