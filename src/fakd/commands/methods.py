"""`fakd methods`: what distillation methods there are, and what one of them can be told."""

import inspect
import re
import textwrap
from dataclasses import dataclass
from typing import Any

from docstring_parser import parse
from rich import box
from rich.table import Table
from rich.text import Text

from fakd.console import console, say
from fakd.methods import METHODS, Method, method_options

COSTS = {
    "pixel": 0.002,
    "cwd": 0.003,
    "cwd-features": 0.683,
    "at": 0.054,
    "fitnet": 0.399,
    "skds": 0.403,
    "ifvd": 0.476,
    "cirkd": 3.091,
    "fakd": 0.031,
    "fakd-pixel": 0.026,
}
"""Seconds that a step's losses take for 4 crops of 512x512 and 19 classes on a CPU core, as docs/benchmarks/methods.md
has them."""


@dataclass
class MethodsConfig:
    """List the distillation methods: what each asks of the teacher, costs and comes from; and their options."""

    name: str | None = None
    """Method to describe with all its options; by default all methods in a table."""


def methods(config: MethodsConfig) -> dict[str, Any]:
    """Print the table, or one method with its options.

    Returns:
        The default of every option, by method.

    Raises:
        ValueError: there is no such method.
    """
    if config.name is None:
        _print_all()
    else:
        _print_one(config.name, method_options(config.name))
    names = METHODS if config.name is None else (config.name,)
    return {name: {key: option.default for key, option in method_options(name).items()} for name in names}


def _print_all() -> None:
    table = Table("method", "asks", "s", "what it does, and where it is from", box=box.SIMPLE_HEAD, pad_edge=False)
    for name, kind in METHODS.items():
        cost = f"{COSTS[name]:.3f}" if name in COSTS else "-"
        paper = (source(kind) or "").partition(";")[0]
        said = Text(_pulls(kind)).append(f"\n{paper}" if paper else "", style="dim")
        table.add_row(name, kind.needs, cost, said)
    console.print(table)
    say("asks: what the teacher must give; with logits it may be an .onnx file, several networks, or a cache.")
    say("s: seconds of a step's losses for 4 crops of 512x512 with 19 classes, on one core of a CPU.")
    say("One method with its options: fakd methods fakd")


def _print_one(name: str, options: dict[str, inspect.Parameter]) -> None:
    kind = METHODS[name]
    say(f"{name}: {_pulls(kind)}", style="bold")
    say(f"It asks the teacher for its {kind.needs}." if kind.needs != "nothing" else "It needs no teacher.")
    if found := source(kind):
        say(f"Source: {found}.")
    about = {
        item.arg_name: item.description
        for base in reversed(kind.__mro__)
        for item in parse(inspect.getdoc(base) or "").params
    }
    for key, option in options.items():
        say(f"\n  --options.{key.replace('_', '-')}  [default: {option.default}]")
        text = " ".join((about.get(key) or "").split()).replace("`", "")
        if text:
            say(
                textwrap.fill(
                    text[0].upper() + text[1:], console.width - 1, initial_indent="      ", subsequent_indent="      "
                )
            )
    say(f"\nExample: fakd distill --teacher toy-scenes --method {name}")


def _pulls(kind: type[Method]) -> str:
    """What the method is, as the first sentence of its docstring."""
    return " ".join((inspect.getdoc(kind) or "").split("\n\n")[0].split())


def source(kind: type[Method]) -> str | None:
    """Where the method is published, as its docstring says; None where it does not."""
    found = re.search(r"^Source: (.*?)(?:\n\n|\Z)", inspect.getdoc(kind) or "", re.DOTALL | re.MULTILINE)
    return " ".join(found[1].split()).rstrip(".") if found else None
