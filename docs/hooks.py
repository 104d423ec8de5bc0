"""What mkdocs is told beyond mkdocs.yml: pages made from the code, and formulas as MathML."""

import contextlib
import html
import io
import json
import os
import posixpath
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from latex2mathml.converter import convert
from markdown import Markdown
from markdown.extensions import Extension
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

ROOT = Path(__file__).parents[1]
LINK = re.compile(r"(?<=\]\()([^)#\s:]+)(?=[)#])")
FORMULA = re.compile(r'<(span|div) class="arithmatex">\\[(\[](.*?)\\[)\]]</\1>', re.DOTALL)


class PlainUnderscores(Extension):
    """Underscores never mean emphasis: in docstrings they are subscripts."""

    def extendMarkdown(self, md: Markdown) -> None:
        """Forget the pattern, under the name that this version of Markdown has for it."""
        if hasattr(md, "delimiters"):
            md.delimiters.remove("_")
        else:
            md.inlinePatterns.deregister("em_strong2")


def on_config(config: MkDocsConfig) -> MkDocsConfig:
    """Change how Markdown is read."""
    config.markdown_extensions.append(PlainUnderscores())  # type: ignore[arg-type]
    _complete(config.nav or [], Path(config.docs_dir))
    return config


def _complete(nav: list[dict[str, Any]], docs: Path) -> None:
    """Put pages that the navigation does not name at the end of Guides, or of Benchmarks."""
    named = json.dumps(nav)
    for section, folder in (("Guides", docs), ("Benchmarks", docs / "benchmarks")):
        for entry in nav:
            pages = [page.relative_to(docs).as_posix() for page in sorted(folder.glob("*.md"))]
            entry.get(section, []).extend(page for page in pages if f'"{page}"' not in named)


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the page of all commands, and a page for every file of the repository that a page links to."""
    files.append(File.generated(config, "commands.md", content=_commands()))
    sources = {path for file in files.documentation_pages() for path in _sources(file)}
    for path in sorted(sources):
        files.append(File.generated(config, _source_page(path), content=_source(path)))
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Let links to files of the repository lead to their pages."""

    def lead(match: re.Match[str]) -> str:
        path = _in_repository(match[1], page.file.src_uri)
        if path is None:
            return match[1]
        return posixpath.relpath(_source_page(path), posixpath.dirname(page.file.src_uri) or ".")

    parts = re.split(r"(^```.*?^```$)", markdown, flags=re.DOTALL | re.MULTILINE)
    return "".join(part if part.startswith("```") else LINK.sub(lead, part) for part in parts)


def on_page_content(content: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Write formulas as MathML, which browsers show without any script."""

    def formula(match: re.Match[str]) -> str:
        latex = html.unescape(match[2]).strip()
        return convert(latex, display="block" if match[1] == "div" else "inline")

    return FORMULA.sub(formula, content)


def _sources(file: File) -> Iterator[str]:
    for name in LINK.findall(file.content_string):
        path = _in_repository(name, file.src_uri)
        if path is not None:
            yield path


def _in_repository(link: str, page: str) -> str | None:
    """The file's path in the repository, if that is where a link of a page leads, and not to another page."""
    path = posixpath.normpath(posixpath.join("docs", posixpath.dirname(page), link))
    is_page = path.startswith("docs/") and not path.endswith((".py", ".ipynb"))
    return path if not is_page and not path.startswith("..") and (ROOT / path).is_file() else None


def _source_page(path: str) -> str:
    return f"source/{path}.md"


def _source(path: str) -> str:
    text = (ROOT / path).read_text(encoding="utf-8")
    if path.endswith(".md"):
        return text
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
        "# Commands\n\nWhat `fakd COMMAND --help` prints. `--max-steps` and `--max_steps` are the same; sizes are "
        "written as `360x480` or `360,480`, and `360` is a square; `--config FILE.yaml` gives any option of a command."
    ]
    for name in COMMANDS:
        said = io.StringIO()
        with contextlib.redirect_stdout(said), contextlib.suppress(SystemExit):
            parse([*name.split(), "--help"])
        parts.append(f"## fakd {name}\n\n{_fence('text', _printable(said.getvalue()))}")
    return "\n\n".join(parts) + "\n"
