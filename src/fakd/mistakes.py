"""What people are told of what they typed: one line with the option, what was given, what is expected and meant."""

import re
from collections.abc import Iterable
from typing import Any, Literal, get_args, get_origin

from cyclopts import (
    CoercionError,
    CycloptsError,
    MissingArgumentError,
    UnknownCommandError,
    UnknownOptionError,
    ValidationError,
)
from cyclopts import UnusedCliTokensError as UnusedError

from fakd.console import did_you_mean
from fakd.help import EXAMPLES

KNOWN = {
    "lr": "learning-rate",
    "wd": "weight-decay",
    "epoch": "epochs",
    "num-epochs": "epochs",
    "max-epochs": "epochs",
    "iters": "max-steps",
    "iterations": "max-steps",
    "max-iters": "max-steps",
    "steps": "max-steps",
    "batch": "batch-size",
    "bs": "batch-size",
    "batch-size-per-gpu": "batch-size",
    "gpus": "devices",
    "gpu": "devices",
    "num-gpus": "devices",
    "device": "accelerator",
    "nodes": "num-nodes",
    "num-workers": "workers",
    "amp": "precision",
    "fp16": "precision",
    "bf16": "precision",
    "half": "precision",
    "imgsz": "crop-size",
    "img-size": "crop-size",
    "image-size": "crop-size",
    "size": "crop-size",
    "input-size": "crop-size",
    "data": "data-root",
    "data-dir": "data-root",
    "data-path": "data-root",
    "root": "data-root",
    "out": "output",
    "out-dir": "output",
    "output-dir": "output",
    "save-dir": "output",
    "work-dir": "output",
    "arch": "network",
    "backbone": "network",
    "net": "network",
    "pretrained": "backbone-weights",
    "optim": "optimizer",
    "opt": "optimizer",
    "scheduler": "schedule",
    "dropout-ratio": "dropout",
    "random-seed": "seed",
    "force": "overwrite",
    "yes": "overwrite",
    "cfg": "config",
    "loss-weight": "options.weight",
}
"""What other programs call an option, without its dashes, and its name here."""
_SAME = {"network": ("student", "model"), "accelerator": ("device",), "data-root": ("root",), "devices": ("jobs",)}
"""What an option is called in commands that have none of the first name."""
_COMMANDS = {
    "test": "evaluate",
    "validate": "evaluate",
    "infer": "predict",
    "inference": "predict",
    "segment": "predict",
    "fit": "train",
    "onnx": "export",
    "kd": "distill",
    "gui": "serve",
    "list": "methods",
    "check": "data check",
}
_KINDS = {int: "a whole number", float: "a number", bool: "true or false"}


def told(error: CycloptsError, commands: Iterable[str]) -> str:
    """What is wrong with the words of a command line, in one line.

    Args:
        error: of the library that took them apart.
        commands: all commands, those of two words in full.
    """
    command = " ".join(error.command_chain or ())
    match error:
        case UnknownCommandError():
            return _unknown_command(command, (error.unused_tokens or [""])[0], list(commands))
        case UnknownOptionError():
            return _unknown_option(command, error)
        case MissingArgumentError(argument=argument) if argument is not None:
            if error.keyword or argument.tokens:
                return f"{error.keyword or argument.name} needs a value after it, and none is given."
            return f"fakd {command} needs {argument.name}, and it is not given. As in: {EXAMPLES[command]}"
        case UnusedError(unused_tokens=words):
            return f"fakd {command} does not know what {' '.join(words or ())!r} is for: options have names, see " + (
                f"fakd {command} --help."
            )
        case CoercionError() | ValidationError() if error.argument is not None:
            return _wrong_value(error)
    return str(error)


def _unknown_command(group: str, given: str, commands: list[str]) -> str:
    prefix = f"{group} " if group else ""
    known = list(dict.fromkeys(name.removeprefix(prefix).split()[0] for name in commands if name.startswith(prefix)))
    if given.startswith("-"):
        return f"the command comes before its options, as in: {EXAMPLES['distill']}"
    meant = _COMMANDS.get(given) if not group else None
    advice = f" Did you mean {meant}?" if meant else did_you_mean(given, known)
    advice = advice or f" There are {', '.join(known)}."
    return f"there is no command fakd {prefix}{given}.{advice} See fakd --help."


def _unknown_option(command: str, error: UnknownOptionError) -> str:
    token = error.token
    given = (token.keyword or token.value).partition("=")[0]
    if not given.startswith("-"):
        given = f"--{given.strip('[]')}"  # of a file
    where = "" if token.source == "cli" else f" (in {token.source})"
    known = [name for argument in error.argument_collection if argument.parse for name in argument.names]
    return f"fakd {command} has no option {given}{where}.{_meant(given, known)} See fakd {command} --help."


def _meant(given: str, known: list[str]) -> str:
    name = given.lstrip("-").replace("_", "-").lower()
    usual = KNOWN.get(name, name)
    for option in (usual, *_SAME.get(usual, ())):
        if f"--{option.partition('.')[0]}" in known:
            return f" Did you mean --{option}?"
    if "--options" in known:
        from fakd.methods import METHODS, method_options

        if name in {option.replace("_", "-") for method in METHODS for option in method_options(method)}:
            return f" Did you mean --options.{name}?"
    return did_you_mean(f"--{name}", known)


def _wrong_value(error: CoercionError | ValidationError) -> str:
    """An option, what it expects, and what it got."""
    argument = error.argument
    assert argument is not None
    token = getattr(error, "token", None) or (argument.tokens[0] if argument.tokens else None)
    given = "nothing" if token is None else repr(token.value)
    where = "" if token is None or token.source in ("", "cli") else f" (in {token.source})"
    if error.msg is not None:  # of this package's own converters
        return f"{argument.name}{where}: {error.msg}"
    kinds = [kind for kind in (get_args(argument.hint) or (argument.hint,)) if kind is not type(None)]
    kind = getattr(error, "target_type", None) or kinds[0]
    if get_origin(kind) is Literal:
        choices = [str(choice) for choice in get_args(kind)]
        close = did_you_mean(token.value if token else "", choices)
        return f"{argument.name}{where}: expected {', '.join(choices[:-1])} or {choices[-1]}, got {given}.{close}"
    expected = _KINDS.get(kind) or f"a name and a value, as {argument.name}.NAME VALUE"
    return f"{argument.name}{where}: expected {expected}, got {given}."


def as_typed(message: str, options: Iterable[str], *, first: bool) -> str:
    """A message with the names of options as they are typed: max_steps as --max-steps.

    Args:
        message: of a config class or of the functions below it, which call their arguments by Python's names.
        options: names of the command's options.
        first: whether the message starts with the name of an option, and what "and" joins to it is one too.

    Example:
        >>> as_typed("batch_size must be 1 or more, got 0.", ["batch_size"], first=True)
        '--batch-size must be 1 or more, got 0.'
    """
    names = list(options)
    if first and message.partition(" ")[0] in names:
        message = f"--{message}"
    for name in names:
        if "_" in name:
            message = re.sub(rf"(?<![\w./'\"-]){name}(?![\w='\"/]|\.\w)", f"--{name.replace('_', '-')}", message)
            message = message.replace(f"--{name}", f"--{name.replace('_', '-')}")
    return message


def translated(error: Any, options: Iterable[str], *, first: bool) -> Any:
    """The same error with its message `as_typed`, where it has no more than that."""
    if len(error.args) == 1 and isinstance(error.args[0], str):
        error.args = (as_typed(error.args[0], options, first=first),)
    return error
