"""Options of options: what a command line gives as words, as the values that a run or a method takes."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml
from jsonargparse import ArgumentError, ArgumentParser

from fakd.methods import method_options
from fakd.training import RunConfig


def run_values(kind: type[RunConfig], given: Mapping[str, Any], option: str) -> dict[str, Any]:
    """Options of a training command, each of its own type.

    Args:
        kind: the command's config.
        given: by name; values may be words, as "128,128".
        option: what messages call the whole.

    Raises:
        ValueError: there is no such option, or it does not take such a value.
    """
    parser = ArgumentParser(exit_on_error=False)
    parser.add_class_arguments(kind, as_group=False)
    plain = {name.replace("-", "_"): value_of(value) for name, value in given.items()}
    try:
        parsed = parser.parse_object(plain, defaults=False)
    except ArgumentError as error:
        raise ValueError(f"{option}: {_one_line(error)}") from None
    return {name: parsed[name] for name in plain}


def method_values(method: str, given: Mapping[str, Any]) -> dict[str, Any]:
    """Options of a method, each of its own type.

    Args:
        method: its name.
        given: by name; values may be words, as "0.5" or "null".

    Raises:
        ValueError: there is no such method or option, or it does not take such a value.
    """
    known = method_options(method)
    found: dict[str, Any] = {}
    for name, value in given.items():
        if name not in known:
            raise ValueError(f"method {method!r} has no option {name}; it has {', '.join(known) or 'none'}.")
        parser = ArgumentParser(exit_on_error=False)
        parser.add_argument(f"--{name}", type=known[name].annotation)
        try:
            found[name] = parser.parse_object({name: value_of(value)})[name]
        except ArgumentError as error:
            raise ValueError(f"option {name} of method {method!r}: {_one_line(error)}") from None
    return found


def value_of(word: Any) -> Any:
    """A word of the command line as YAML has it, where commas make a list; anything else as it is."""
    if not isinstance(word, str):
        return word
    try:
        value = yaml.safe_load(f"[{word}]" if "," in word and not word.startswith("[") else word)
    except yaml.YAMLError:
        return word
    return tuple(value) if isinstance(value, list) else value


def words(name: str, value: Any) -> list[str]:
    """An option as it is written on the command line: --crop-size 96,96, or --method-options.cwd.weight 1."""
    if isinstance(value, Mapping):
        return [word for key, inner in value.items() for word in words(f"{name}.{key}", inner)]
    if isinstance(value, list | tuple):
        text = ",".join(map(str, value)) if len(value) > 1 else f"[{', '.join(map(str, value))}]"
    elif isinstance(value, str | Path):
        text = str(value)
    else:
        text = yaml.safe_dump(value).removesuffix("\n").removesuffix("\n...")
    return [f"--{name.replace('_', '-')}", text]


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())
