"""What surrounds the code: what it needs is declared, and the files that people look for say what is true."""

import ast
import json
import re
import sys
import tomllib
from importlib.metadata import PackageNotFoundError, packages_distributions
from pathlib import Path
from types import SimpleNamespace

import pytest
import yaml
from packaging.requirements import Requirement

import fakd
from fakd import console
from fakd.console import install_command

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
EXTRAS = {name: {Requirement(line).name for line in lines} for name, lines in PROJECT["optional-dependencies"].items()}
UNNAMED = {"comet_ml": "comet-ml"}
"""Modules of packages that are not installed for the tests."""


def imported() -> dict[str, str]:
    """The top-level modules that the package imports, each with a file that does."""
    found: dict[str, str] = {}
    for path in sorted((ROOT / "src").rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            if isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
                names = [node.module]
            found |= {name.partition(".")[0]: path.name for name in names}
    return found


def test_all_that_is_imported_is_declared() -> None:
    declared = {Requirement(line).name for line in PROJECT["dependencies"]}.union(
        *(names for extra, names in EXTRAS.items() if extra not in ("dev", "docs"))
    )
    declared = {name.lower().replace("_", "-") for name in declared}
    providers = packages_distributions()
    missing = {}
    for module, file in imported().items():
        if module == "fakd" or module in sys.stdlib_module_names:
            continue
        packages = [UNNAMED[module]] if module in UNNAMED else providers.get(module, [module])
        if not {name.lower().replace("_", "-") for name in packages} & declared:
            missing[module] = file
    assert missing == {}


def test_the_withdrawn_releases_of_lightning_are_left_out() -> None:
    wanted = next(Requirement(line) for line in PROJECT["dependencies"] if line.startswith("lightning-fabric"))
    releases = ("2.4.0", "2.5.0", "2.6.1", "2.6.2", "2.6.3", "2.6.4", "3.0.0")
    assert list(wanted.specifier.filter(releases)) == ["2.5.0", "2.6.1", "2.6.4"]


def test_extras_that_messages_name_exist() -> None:
    named = {
        name
        for path in [*(ROOT / "src").rglob("*.py"), ROOT / "README.md", *(ROOT / "docs").rglob("*.md")]
        for name in re.findall(r"install_command\(['\"]([\w-]+)|fakd\[([\w-]+)\]", path.read_text())
        for name in name
        if name
    }
    assert {"smp", "export", "video"} < named
    assert named <= set(EXTRAS)


@pytest.mark.parametrize(
    ("origin", "command"),
    [
        (None, "pip install 'fakd[video]'"),
        (
            {"url": "file:///home/me/my%20code/fakd", "dir_info": {"editable": True}},
            "pip install -e '/home/me/my code/fakd[video]'",
        ),
        ({"url": "file:///home/me/fakd", "dir_info": {}}, "pip install 'fakd[video] @ file:///home/me/fakd'"),
        (
            {"url": "https://example.org/fakd.git", "vcs_info": {"vcs": "git", "commit_id": "abc"}},
            "pip install 'fakd[video] @ git+https://example.org/fakd.git'",
        ),
        (
            {"url": "https://example.org/fakd-1.whl", "archive_info": {}},
            "pip install 'fakd[video] @ https://example.org/fakd-1.whl'",
        ),
    ],
)
def test_an_extra_is_installed_from_where_fakd_came(monkeypatch, origin, command) -> None:
    text = None if origin is None else json.dumps(origin)
    monkeypatch.setattr(console, "distribution", lambda name: SimpleNamespace(read_text=lambda file: text))
    assert install_command("video") == command
    if origin:
        Requirement(command.partition("'")[2].rstrip("'").removeprefix("/home/me/my code/"))  # as pip reads it


def test_an_extra_of_a_package_that_is_not_installed(monkeypatch) -> None:
    def missing(name: str) -> None:
        raise PackageNotFoundError(name)

    monkeypatch.setattr(console, "distribution", missing)
    assert install_command("video") == "pip install 'fakd[video]'"


def test_type_checkers_find_types() -> None:
    assert (Path(fakd.__file__).parent / "py.typed").is_file()


def test_the_changelog_has_every_release_with_its_date() -> None:
    lines = (ROOT / "CHANGELOG.md").read_text().splitlines()
    releases = [line.removeprefix("## ").split(" - ") for line in lines if line.startswith("## ")]
    assert releases[0][0] == fakd.__version__
    dates = [date for _, date in releases]
    assert all(re.fullmatch(r"20\d\d-\d\d-\d\d", date) for date in dates[1:] + dates[:1] * (dates[0] != "unreleased"))
    assert dates[1:] == sorted(dates[1:], reverse=True)
    sections = {line.removeprefix("### ") for line in lines if line.startswith("### ")}
    assert sections <= {"Added", "Changed", "Deprecated", "Removed", "Fixed", "Security"}


def test_the_citation_is_the_papers() -> None:
    cited = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    assert {"cff-version", "message", "title", "authors"} <= set(cited)
    assert cited["license"] == PROJECT["license"]
    paper = cited["preferred-citation"]
    assert paper["url"] == PROJECT["urls"]["Paper"]
    assert paper["title"] in re.sub(r"\s+", " ", (ROOT / "README.md").read_text())


def test_the_workflow_runs_what_a_change_must_pass() -> None:
    workflow = yaml.safe_load((ROOT / ".github/workflows/ci.yml").read_text())
    steps = workflow["jobs"]["run"]["steps"]
    assert [step["run"] for step in steps if "run" in step] == [".ci/run"]
    assert workflow["permissions"] == {"contents": "read"}
    python = next(step["with"]["python-version"] for step in steps if "python-version" in step.get("with", {}))
    assert f">={python}" == PROJECT["requires-python"]


def test_the_image_copies_what_the_package_is_built_from() -> None:
    copied = re.findall(r"^COPY (.+) \S+$", (ROOT / "Dockerfile").read_text(), re.MULTILINE)
    sources = {name for line in copied for name in line.split()}
    kept = {line.removeprefix("!") for line in (ROOT / ".dockerignore").read_text().splitlines() if line[0] == "!"}
    assert sources == kept == {"pyproject.toml", "src", PROJECT["readme"], *PROJECT["license-files"]}
    assert all((ROOT / name).exists() for name in sources)
    extras = re.search(r"'\.\[([\w,]+)\]'", (ROOT / "Dockerfile").read_text())
    assert extras
    assert set(extras[1].split(",")) <= set(EXTRAS)


def test_hooks_run_what_make_check_runs() -> None:
    (own,) = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text())["repos"]
    makefile = (ROOT / "Makefile").read_text()
    for hook in own["hooks"]:
        program = hook["entry"].split()[0].removeprefix(".venv/bin/")
        assert f"$(BIN)/{program}" in makefile
