"""Build the documentation as a site: `python docs/make_site.py FOLDER` writes FOLDER/site.

Zensical renders what lies in FOLDER/docs. This script puts it there: the pages of docs/, a page of all commands, and a
page for every file of the repository that a page links to. It is also a Markdown extension: formulas become MathML.
"""

import contextlib
import html
import io
import json
import os
import posixpath
import re
import shutil
import sys
from pathlib import Path
from typing import Any

from latex2mathml.converter import convert
from markdown import Markdown
from markdown.extensions import Extension
from markdown.postprocessors import Postprocessor

LINK = re.compile(r"(?<=\]\()([^)#\s:]+)(?=[)#])")
CODE = re.compile(r"(^```.*?^```$|`[^`\n]*`)", re.DOTALL | re.MULTILINE)
FORMULA = re.compile(r'<(span|div) class="arithmatex">\\[(\[](.*?)\\[)\]]</\1>', re.DOTALL)


def make(folder: Path, root: Path) -> None:
    """Write FOLDER/docs and FOLDER/zensical.toml, and have Zensical build FOLDER/site.

    Raises:
        SystemExit: a link leads nowhere, a page is missing from the navigation, or Zensical complains.
    """
    for old in ("docs", "site"):
        shutil.rmtree(folder / old, ignore_errors=True)
    docs = folder / "docs"
    shutil.copytree(root / "docs", docs, ignore=shutil.ignore_patterns("*.py", "__pycache__"))
    shutil.copy(root / "zensical.toml", folder)
    settings = (root / "zensical.toml").read_text(encoding="utf-8")
    if '"commands.md"' in settings:
        (docs / "commands.md").touch()
    pages = sorted(page.relative_to(docs).as_posix() for page in docs.rglob("*.md"))
    faults = [f"docs/{page} is missing from nav in zensical.toml" for page in pages if f'"{page}"' not in settings]
    linked: set[str] = set()
    for page in pages:
        text = (docs / page).read_text(encoding="utf-8")
        (docs / page).write_text(_lead(text, page, root, docs, linked, faults), encoding="utf-8")
    if faults:
        sys.exit("\n".join(faults))
    for path in linked:
        source = docs / _source_page(path)
        source.parent.mkdir(parents=True, exist_ok=True)
        source.write_text(_source(path, root), encoding="utf-8")
    if (docs / "commands.md").exists():
        (docs / "commands.md").write_text(_commands(), encoding="utf-8")
    _render(folder / "zensical.toml")


def _render(config: Path) -> None:
    from zensical.main import cli

    try:
        cli.main(["build", "--strict", "--clean", "--config-file", str(config)], standalone_mode=False)
    except RuntimeError as error:  # it has said what is wrong
        sys.exit(str(error))


def _lead(text: str, page: str, root: Path, docs: Path, linked: set[str], faults: list[str]) -> str:
    """Let links to files of the repository lead to their pages in the site.

    Args:
        text: the page's Markdown.
        page: its path below docs/.
        root: the repository.
        docs: the folder of all pages.
        linked: files that need a page; what this page links to is added.
        faults: what is wrong; links to nothing are added.
    """
    folder = posixpath.dirname(page)

    def lead(match: re.Match[str]) -> str:
        if (docs / folder / match[1]).is_file():
            return match[1]
        path = posixpath.normpath(posixpath.join("docs", folder, match[1]))
        if path.startswith("..") or not (root / path).is_file():
            faults.append(f"docs/{page} links to {match[1]}, which is not there")
            return match[1]
        linked.add(path)
        return posixpath.relpath(_source_page(path), folder or ".")

    return "".join(part if part.startswith("`") else LINK.sub(lead, part) for part in CODE.split(text))


def _source_page(path: str) -> str:
    return f"source/{path}.md"


def _source(path: str, root: Path) -> str:
    """A file of the repository as a page; links of its own lead nowhere here, and are left out."""
    text = (root / path).read_text(encoding="utf-8")
    if path.endswith(".md"):
        return re.sub(r"\[([^\]]*)\]\((?!https?:)[^)]*\)", r"\1", text)
    if path.endswith(".ipynb"):
        cells = [("".join(cell["source"]), cell["cell_type"]) for cell in json.loads(text)["cells"]]
        return "\n\n".join(source if kind == "markdown" else _fence("python", source) for source, kind in cells)
    kind = {".py": "python", ".sh": "bash", ".yaml": "yaml"}.get(Path(path).suffix, "text")
    return f"# {path.replace('__', chr(92) + '_' + chr(92) + '_')}\n\n{_fence(kind, text)}\n"


def _fence(kind: str, text: str) -> str:
    return f"````{kind}\n{text.rstrip()}\n````"


def _printable(text: str) -> str:
    """Without the invisible characters that keep a terminal from breaking lines."""
    return "".join(character for character in text if character.isprintable() or character == "\n")


def _commands() -> str:
    """What every command says of itself by --help."""
    from fakd.cli import COMMANDS, parse

    os.environ["COLUMNS"] = "80"
    parts = [
        "# Commands\n\nAfter this page you know every option of every command, as `fakd COMMAND --help` prints them. "
        "`--max-steps` and `--max_steps` are the same. Sizes are height, width, as `360x480` or `360,480`; `360` "
        "is a square. `--config FILE.yaml` reads options from a file."
    ]
    for name in COMMANDS:
        said = io.StringIO()
        with contextlib.redirect_stdout(said), contextlib.suppress(SystemExit):
            parse([*name.split(), "--help"])
        parts.append(f"## fakd {name}\n\n{_fence('text', _printable(said.getvalue()))}")
    return "\n\n".join(parts) + "\n"


class _MathML(Postprocessor):
    """Formulas as MathML, which browsers show without any script."""

    def run(self, text: str) -> str:
        def formula(match: re.Match[str]) -> str:
            latex = html.unescape(match[2]).strip()
            return convert(latex, display="block" if match[1] == "div" else "inline")

        return FORMULA.sub(formula, text)


class _Reading(Extension):
    def extendMarkdown(self, md: Markdown) -> None:
        # Underscores never mean emphasis: in docstrings they are subscripts.
        if hasattr(md, "delimiters"):  # since Markdown 3.11
            md.delimiters.remove("_")
        else:
            md.inlinePatterns.deregister("em_strong2")
        md.postprocessors.register(_MathML(md), "mathml", 0)  # last, when nothing is a placeholder any more


def makeExtension(**settings: Any) -> Extension:
    """What Python-Markdown asks of a module that zensical.toml names as an extension."""
    return _Reading(**settings)


if __name__ == "__main__":
    make(Path(sys.argv[1]), Path(sys.argv[2]) if sys.argv[2:] else Path(__file__).parents[1])
