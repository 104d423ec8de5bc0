"""What `--help` prints: all of it, in an order that a person reads."""

import inspect
import subprocess
import sys
from contextlib import redirect_stdout
from dataclasses import fields
from functools import cache
from io import StringIO
from pkgutil import resolve_name

import pytest

from fakd import __version__, cli
from fakd.help import COMMAND_GROUPS, EXAMPLES, OPTION_GROUPS, START
from fakd.methods import METHODS, method_options

CONFIGS = {name: cli.config_class(resolve_name(path)) for name, path in cli.COMMANDS.items()}
every_command = pytest.mark.parametrize("command", CONFIGS)
TRAINING = [name for name, config in CONFIGS.items() if "recipe" in {field.name for field in fields(config)}]


@pytest.fixture(scope="module", name="said")
def _said():
    """What a command line prints that only asks."""

    @cache
    def ask(words: str) -> str:
        text = StringIO()
        with pytest.MonkeyPatch.context() as patch, redirect_stdout(text):
            patch.setenv("COLUMNS", "80")
            patch.setattr(cli, "quiet_libraries", lambda: None)
            with pytest.raises(SystemExit) as stopped:
                cli.main(words.split())
        assert stopped.value.code == 0
        return text.getvalue()

    return ask


def test_all_commands_in_groups(said) -> None:
    lines = said("--help").splitlines()
    assert all(any(line.startswith(f"  {command.split()[0]}  ") for line in lines) for command in CONFIGS)
    assert [line[:-1] for line in lines if line[:-1] in COMMAND_GROUPS] == list(COMMAND_GROUPS)
    grouped = [name for names in COMMAND_GROUPS.values() for name in names]
    assert sorted(grouped) == sorted({command.split()[0] for command in CONFIGS})
    assert __version__ in said("--version")


def test_fakd_alone_shows_the_main_path(said) -> None:
    lines = said("").splitlines()
    assert [line.split()[1] for line in lines if line.startswith("  fakd ")] == [line.split()[0] for line in START]
    assert len(START) == 5
    assert max(map(len, lines)) <= 80
    assert len(lines) < 15


@every_command
def test_summary_is_the_first_sentence(command) -> None:
    assert inspect.getdoc(CONFIGS[command]).split("\n\n")[0].replace("\n", " ") == cli.SUMMARIES[command]


@every_command
def test_every_option_is_explained(command, said) -> None:
    text = said(f"{command} --help")
    lines = text.splitlines()
    assert max(map(len, lines)) <= 80
    assert "<class" not in text
    entries = {
        word.strip(",").partition(".")[0] for line in lines if line.startswith("  ") for word in line.split()[:2]
    }
    words = " ".join(text.split())
    assert f"Example: {EXAMPLES[command]}" in words
    for field in fields(CONFIGS[command]):
        assert f"--{field.name.replace('_', '-')}" in entries
        assert first_words(CONFIGS[command], field.name) in words, f"{field.name} has no help"
    assert "_" not in "".join(sorted(entry for entry in entries if entry.startswith("--")))


@cache
def source_lines(owner: type) -> list[str]:
    return [line.strip() for line in inspect.getsource(owner).splitlines()]


def first_words(config_class: type, name: str) -> str:
    """The start of the docstring below a field, as it stands in the source."""
    owner = next(base for base in config_class.__mro__ if name in inspect.get_annotations(base))
    lines = source_lines(owner)
    text = lines[next(place for place, line in enumerate(lines) if line.startswith(f"{name}:")) + 1]
    assert text.startswith('"""'), f"{name} has no docstring"
    return " ".join(text.strip('"').split()[:3])


@every_command
def test_what_most_need_is_within_a_hundred_lines(command, said) -> None:
    lines = said(f"{command} --help").splitlines()
    titles = {line: place for place, line in enumerate(lines) if line.endswith(":") and not line.startswith(" ")}
    first = min((place for title, place in titles.items() if title.startswith("Advanced")), default=len(lines))
    assert first <= 100
    assert titles.get("Arguments:", 0) <= titles.get("Options:", 0) <= first


@pytest.mark.parametrize("command", TRAINING)
def test_essentials_come_first_and_no_option_is_left_over(command, said) -> None:
    lines = said(f"{command} --help").splitlines()
    titles = [line[:-1] for line in lines if line.endswith(":") and not line.startswith(" ")]
    assert titles == [title for title in OPTION_GROUPS if title in titles]
    assert titles[0] == "Essentials"
    essentials = lines[lines.index("Essentials:") : lines.index("Data:")]
    named = [line.split()[0].strip(",").removesuffix(".NAME") for line in essentials if line.startswith("  --")]
    order = OPTION_GROUPS["Essentials"].split()
    expected = [name for name in order if name in {field.name for field in fields(CONFIGS[command])}]
    assert named == [f"--{name.replace('_', '-')}" for name in expected]


def test_distill_names_the_options_of_every_method(said) -> None:
    words = " ".join(said("distill --help").split())
    for name in METHODS:
        options = ", ".join(method_options(name)).replace("_", "-") or "no options"
        assert f" {name} {options}" in words


@pytest.mark.parametrize(
    ("command", "part"),
    [
        ("report", "RUNS, --runs"),
        ("benchmark", "MODELS, --models"),
        ("data check", "ROOT, --root"),
        ("predict", "MODEL IMAGES OUTPUT"),
        *((command, "torchvision:NAME, smp:FOLDER or hf:NAME") for command in ("evaluate", "serve", "export")),
        ("distill", "  --resume   "),
        ("distill", "--check-data, --no-check-data"),
        ("distill", "--at-least.NAME VALUE"),
    ],
)
def test_how_options_are_typed(command, part, said) -> None:
    text = said(f"{command} --help")
    assert part in text or part in " ".join(text.split())


@every_command
def test_the_examples_can_be_typed(command, tmp_path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "photos/images").mkdir(parents=True)
    given = EXAMPLES[command].split()
    assert given[: 1 + len(command.split())] == ["fakd", *command.split()]
    if command == "train":  # there is no image
        with pytest.raises(ValueError, match="photos"):
            cli.parse(given[1:])
    else:
        assert type(cli.parse(given[1:])[1]) is CONFIGS[command]


def test_help_takes_less_than_a_second_of_processor_time() -> None:
    spent = "import os; from fakd.cli import main\ntry: main(['--help'])\nexcept SystemExit: print(sum(os.times()[:2]))"
    done = subprocess.run([sys.executable, "-c", spent], capture_output=True, text=True, check=True)
    assert float(done.stdout.split()[-1]) < 1.0
