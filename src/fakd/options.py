"""How the options of commands are typed: the annotations of config classes that say more than their plain types."""

import json
import os
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeVar, get_args

import yaml
from cyclopts import UNSET, Parameter, Token

_EXPECTED = {
    tuple[int, int]: "a height and a width in pixels, as 360x480 or 360,480, or one number for a square",
    tuple[float, float]: "two numbers, as 0.5,2.0",
    tuple[float, ...]: "one or more numbers, as 0.75,1,1.25",
    tuple[int, ...]: "one or more whole numbers, as 1,2,3",
}


def plain_value(word: str) -> Any:
    """A word as YAML has it: a number, true or false, null; JSON's lists and mappings; or else the word itself.

    Example:
        >>> [plain_value(word) for word in ("0.5", "1e-5", "True", "null", "tight")]
        [0.5, 1e-05, True, None, 'tight']
    """
    try:
        return json.loads(word)
    except ValueError:  # YAML alone, with nothing that could blow up
        pass
    try:
        return yaml.safe_load(word) if re.fullmatch(r"[\w.+~-]+", word) else word
    except (yaml.YAMLError, ValueError):
        return word


T = TypeVar("T")
if TYPE_CHECKING:
    ByRecipe = Annotated[T, "by the recipe"]
else:
    ByRecipe = T | None
"""The type of an option that the run's recipe sets: None for the command line, and its own type ever after."""


UNSAID: Any = None
"""The default of such an option."""


def at_home(value: Any) -> Any:
    """Have paths start at the home folder that start with ~/, which no shell does behind an = and no file at all.

    Args:
        value: of an option: a path, a word that may hold one, as smp:unet/resnet34=~/teacher.pth, or several of them.

    Example:
        >>> at_home({"init": "torchscript:~/a.pt"}) == {"init": f"torchscript:{Path.home()}/a.pt"}
        True
        >>> at_home(["a~/b", "~", 3])
        ['a~/b', '~', 3]
    """
    if isinstance(value, str):
        return re.sub(r"(?:^|(?<=[:=]))~[\w.-]*(?=[/\\])", lambda found: os.path.expanduser(found[0]), value)
    if isinstance(value, Path):
        return Path(os.path.expanduser(value))
    if isinstance(value, Mapping):
        return {key: at_home(inner) for key, inner in value.items()}
    return type(value)(map(at_home, value)) if isinstance(value, list | tuple) else value


def check_least(options: object, **least: int) -> None:
    """Refuse numbers that are too small; one that is not given is none of them.

    Args:
        options: of a command.
        least: the smallest number that each of these may be.

    Raises:
        ValueError: one is smaller.
    """
    for name, smallest in least.items():
        if (value := getattr(options, name)) is not None and value < smallest:
            raise ValueError(f"{name} must be {smallest} or more, got {value}.")


def _numbers(kind: Any, tokens: Sequence[Token]) -> tuple[float, ...]:
    """Numbers with commas or an x in between, or the numbers of a list."""
    given = ",".join(token.value for token in tokens)
    try:
        numbers = tuple(get_args(kind)[0](word) for word in re.split("[,x]", given.strip("[]")))
    except ValueError:
        numbers = ()
    if kind == tuple[int, int] and len(numbers) == 1:
        numbers *= 2
    if not numbers or (... not in get_args(kind) and len(numbers) != 2):
        raise ValueError(f"expected {_EXPECTED[kind]}; got {given!r}.")
    return numbers


def _plain_values(_kind: Any, tokens: Mapping[str, Any] | Sequence[Token]) -> Any:
    if isinstance(tokens, Mapping):
        return {key.replace("-", "_"): _plain_values(None, inner) for key, inner in tokens.items()}
    values = [
        plain_value(token.value) if token.implicit_value is UNSET else token.implicit_value  # such as null in a file
        for token in _last_typed(tokens)
    ]
    return values[0] if len(values) == 1 else values


def _last_typed(tokens: Sequence[Token]) -> Sequence[Token]:
    """Of an option that is typed twice the last one counts; a file's list comes as many tokens too."""
    return tokens[-1:] if tokens[-1].source == "cli" else tokens


def _one_or_many(_kind: Any, tokens: Sequence[Token]) -> str | list[str]:
    words = [token.value.strip("[]") for token in _last_typed(tokens)]
    return words[0] if len(words) == 1 else words


def _each(kind: Any, tokens: Sequence[Token]) -> Any:
    """One word of an option that is given once, or a list; none stands for nothing in its place."""
    words = [token.value if token.implicit_value is UNSET else token.implicit_value for token in tokens]
    nothing = Path in _parts(kind)
    values = [None if nothing and word in (None, "none", "null") else str(word) for word in words]
    made = [value if value is None or not nothing else Path(value) for value in values]
    return made[0] if len(made) == 1 else made


def _parts(kind: Any) -> set[Any]:
    """The types that a type is made of."""
    return {kind}.union(*map(_parts, get_args(kind)))


def _shown(numbers: Sequence[float] | None) -> str | None:
    return None if numbers is None else ",".join(map(str, numbers))


def _of_numbers(metavar: str) -> Parameter:
    return Parameter(converter=_numbers, n_tokens=1, metavar=metavar, show_default=_shown)


Size = Annotated[tuple[int, int], _of_numbers("HxW")]
"""Height and width, as 360x480; 360 is a square."""
Range = Annotated[tuple[float, float], _of_numbers("LOW,HIGH")]
"""The least and the most, as 0.5,2.0."""
Factors = Annotated[tuple[float, ...], _of_numbers("NUMBER,...")]
"""As many as one likes, as 0.75,1,1.25."""
BandNumbers = Annotated[tuple[int, ...], _of_numbers("NUMBER,...")]
"""Numbers of bands, as 1,2,3."""
Options = Annotated[dict[str, Any], Parameter(converter=_plain_values)]
"""Plain values by name, as --options.strength 0.5."""
Names = Annotated[list[str] | str, Parameter(converter=_one_or_many, metavar="NAME,...")]
"""Names with commas in between, or a list of a file."""
Teachers = Annotated[str | list[str], Parameter(converter=_each, n_tokens=1, metavar="NAME")]
"""One name, or the option once for each of several."""
EachPath = Annotated[Path | list[Path | None], Parameter(converter=_each, n_tokens=1, metavar="FILE")]
"""One file, or the option once for each of several teachers, with none for those that need no file."""
Hidden = Annotated[list[str] | str | None, Parameter(converter=_one_or_many, metavar="NAME,...")]
"""Classes that pictures show no colour of: names with commas in between, or none."""
Seeds = Annotated[int | list[int] | str, Parameter(converter=_plain_values, metavar="NUMBER,...")]
"""How many, or which, as 0,1,2."""
Paths = Annotated[list[str], Parameter(consume_multiple=True)]
"""As many as one likes after the option, or without it."""
Output = Annotated[Path, Parameter(alias="-o")]
"""Where to write, which has a short name."""
