"""YAML that others wrote: plain values, and no more of them than memory can bear.

PyYAML's safe loader runs nothing, but by aliases a text of ten lines can stand for more values than any memory holds.
"""

from pathlib import Path
from typing import Any

import yaml

from fakd.data.spec import DataError

_LONGEST = 1 << 20  # bytes; those that people write have thousands
_MOST_VALUES = 100_000
_DEEPEST = 50


class _Loader(yaml.SafeLoader):
    """Of a key that stands twice, PyYAML would take the last and say nothing."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen: set[tuple[str, str]] = set()
        for key in (key for key, _ in node.value if isinstance(key, yaml.ScalarNode)):
            if (key.tag, key.value) in seen:
                problem = f"{key.value!r} stands twice"
                raise yaml.constructor.ConstructorError(problem=problem, problem_mark=key.start_mark)
            seen.add((key.tag, key.value))
        return super().construct_mapping(node, deep)


def read_yaml(path: Path) -> Any:
    """Read a file of plain values.

    Raises:
        DataError: It is no UTF-8 text or no YAML, has tags for other than plain values or a key twice, or is too large.
    """
    text = read_short_text(path)
    try:
        check_yaml(text)
        return yaml.load(text, Loader=_Loader)
    except (yaml.YAMLError, ValueError) as error:  # ValueError: a date or a number that is none
        raise DataError(f"{path}: not readable as YAML: {' '.join(str(error).split())}.") from error


def line_numbers(path: Path) -> dict[str, list[int]]:
    """Where the keys of a mapping that `read_yaml` reads stand, and what is below each, in order.

    Returns:
        The line of every key, and then the lines of the items or keys below it; those of a list that is all there is
        under "".
    """
    node = yaml.compose(read_short_text(path), Loader=yaml.SafeLoader)
    if not isinstance(node, yaml.MappingNode):
        return {"": [1, *_lines_below(node)]}
    return {str(key.value): [key.start_mark.line + 1, *_lines_below(value)] for key, value in node.value}


def _lines_below(node: yaml.Node | None) -> list[int]:
    below = node.value if isinstance(node, yaml.CollectionNode) else []
    keys = [key for key, _ in below] if isinstance(node, yaml.MappingNode) else below
    return [key.start_mark.line + 1 for key in keys]


def read_short_text(path: Path) -> str:
    """Read a text that a person wrote.

    Raises:
        DataError: It is no UTF-8, or too large.
    """
    if (size := path.stat().st_size) > _LONGEST:
        raise DataError(f"{path}: {size:,} bytes, expected {_LONGEST:,} at most. It is no text that a person wrote.")
    try:
        return path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise DataError(f"{path}: not readable as UTF-8 text. Save it as UTF-8.") from error


def check_yaml(text: str) -> None:
    """Count the values that a text stands for, those that aliases repeat included, without making them.

    Raises:
        yaml.YAMLError: It is no YAML, or larger or deeper nested than it may be.

    Example:
        >>> check_yaml("crop_size: [512, 1024]")
        >>> check_yaml("{a: &a [0, 0], b: &b [*a, *a], c: [*c]}")
        Traceback (most recent call last):
        ...
        yaml.error.YAMLError: the alias *c stands for nothing, or for what it is a part of
    """
    sizes: dict[str | None, int] = {}  # by anchor
    unfinished: list[tuple[str | None, int]] = [(None, 0)]  # the lists and mappings around the present place
    for event in yaml.parse(text, Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader)):
        match event:
            case yaml.AliasEvent():
                if event.anchor not in sizes:
                    raise yaml.YAMLError(f"the alias *{event.anchor} stands for nothing, or for what it is a part of")
                size = sizes[event.anchor]
            case yaml.ScalarEvent():
                size = sizes[event.anchor] = 1
            case yaml.CollectionStartEvent():
                sizes.pop(event.anchor, None)
                unfinished.append((event.anchor, 1))
                size = 0
            case yaml.CollectionEndEvent():
                anchor, size = unfinished.pop()
                sizes[anchor] = size
            case _:
                continue
        anchor, before = unfinished[-1]
        unfinished[-1] = (anchor, before + size)
        if len(unfinished) > _DEEPEST:
            raise yaml.YAMLError(f"nested over {_DEEPEST} levels deep, expected fewer")
        if before + size > _MOST_VALUES:
            raise yaml.YAMLError(f"its aliases blow it up to over {_MOST_VALUES:,} values, expected fewer")
