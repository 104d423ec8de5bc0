"""The fenced blocks of the pages, and what can be said of a command without running it."""

import ast
import re
import shlex
import subprocess
import textwrap
import tomllib
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import NamedTuple

from fakd.cli import parse

ROOT = Path(__file__).parents[2]
_FENCE = re.compile(r"^(?P<fence>```+)(?P<language>[\w-]*)\n(?P<code>.*?)^(?P=fence)\s*$", re.DOTALL | re.MULTILINE)
_SEPARATORS = {"&&", "||", "|", ";", "(", ")", "&"}
_SHELL = {"cd", "printf", "find", "shuf", "source", "ls", "mkdir", "cat", "curl"}
"""Programs that every machine has, whose arguments are not looked at."""


class Block(NamedTuple):
    """A fenced block of a page."""

    page: str
    """Path in the repository."""
    line: int
    language: str
    code: str

    @property
    def start(self) -> str:
        """Its first line that is not a comment."""
        lines = [line for line in self.code.splitlines() if line.strip() and not line.startswith("#")]
        return lines[0] if lines else ""

    def __str__(self) -> str:
        return f"{self.page}:{self.line}"


def pages() -> list[str]:
    """Every page that people read, by its path in the repository."""
    found = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]
    return [path.relative_to(ROOT).as_posix() for path in found]


@cache
def blocks(page: str) -> tuple[Block, ...]:
    """The blocks of a page, in order."""
    text = (ROOT / page).read_text(encoding="utf-8")
    return tuple(
        Block(page, text.count("\n", 0, match.start()) + 1, match["language"], match["code"])
        for match in _FENCE.finditer(text)
    )


def check(block: Block) -> None:
    """Hold a block against what exists, without running it.

    Raises:
        AssertionError: a word of it is nothing that exists.
    """
    if block.language == "python":
        code = textwrap.dedent(block.code)
        ast.parse(code if code.strip()[-1] != "," else f"{{{code}}}")  # an entry of a dict
        return
    assert block.language == "bash", f"{block}: nobody can check {block.language!r}"
    done = subprocess.run(["bash", "-n"], input=block.code, text=True, capture_output=True, check=False)
    assert done.returncode == 0, f"{block}: {done.stderr}"
    for words in _commands(block.code):
        _check_command(words, str(block))


def _commands(code: str) -> Iterator[list[str]]:
    """The commands of a script as words."""
    for line in code.replace("\\\n", " ").splitlines():
        lexer = shlex.shlex(line, posix=True, punctuation_chars="&|;()<>")
        lexer.whitespace_split = True
        lexer.commenters = "#"
        words: list[str] = []
        for word in [*lexer, ";"]:
            if word in _SEPARATORS:
                if words:
                    yield words
                words = []
            else:
                words.append(word)


def _check_command(words: list[str], where: str) -> None:
    whole = "..." not in words
    words = [word for word in words if word != "..."]
    while words and re.fullmatch(r"[A-Z_]+=.*", words[0]):
        words = words[1:]
    if words[:1] in (["torchrun"], ["srun"]):
        words = words[words.index("fakd") :]
    program, *rest = words
    if program == "fakd":
        try:
            parse([word.replace("$SLURM_ARRAY_TASK_ID", "0") for word in rest])
        except SystemExit as stopped:
            assert stopped.code == 0, f"{where}: fakd {shlex.join(rest)} is no command"  # noqa: PT017
        except FileNotFoundError:
            pass  # it got as far as the files
        except ValueError as error:
            # what is left out, or a data set of the reader's own that is not here
            assert not whole or any(root in str(error) for root in ("ROOT", "DATA", "LAND")), f"{where}: {error}"  # noqa: PT017
    elif program == "python":
        _check_python(rest, where)
    elif program == "make":
        targets = re.findall(r"^([\w-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE)
        assert rest[0] in targets, f"{where}: the Makefile has no {rest[0]}"
    elif program == "pip":
        extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
        asked = {extra for word in rest for found in re.findall(r"\[(.+)\]", word) for extra in found.split(",")}
        assert asked <= set(extras), f"{where}: no extra {asked - set(extras)}"
    else:
        assert program in _SHELL, f"{where}: what is {program}?"


def _check_python(words: list[str], where: str) -> None:
    if words[:2] == ["-m", "pytest"]:
        paths = [word for word in words[2:] if word.startswith("tests")]
        assert paths, f"{where}: which tests?"
        assert all((ROOT / path).exists() for path in paths), f"{where}: {paths}"
        return
    script = ROOT / words[0]
    assert script.is_file(), f"{where}: no {words[0]}"
    source = script.read_text()
    for word in words[1:]:
        if word.startswith("--"):
            assert f'"{word}"' in source, f"{where}: {words[0]} has no {word}"
