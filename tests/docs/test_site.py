"""The site is built without a warning, leads nowhere that is not there, and loads nothing from elsewhere."""

import re
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest
from blocks import ROOT
from filelock import FileLock

from fakd.cli import COMMANDS

pytest.importorskip("latex2mathml", reason="needs pip install 'fakd[docs]'")
pytest.importorskip("mkdocstrings", reason="needs pip install 'fakd[docs]'")
pytest.importorskip("zensical", reason="needs pip install 'fakd[docs]'")

LOADED = {"script": "src", "img": "src", "iframe": "src", "source": "src", "video": "src"}
_EXTERNAL = re.compile(r"(https?:)?//")


class _Page(HTMLParser):
    """What a page loads, where it leads, and the names it has."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.loads: list[str] = []
        self.links: list[str] = []
        self.names: set[str] = set()
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        found = dict(attrs)
        self.names |= {value for key in ("id", "name") if (value := found.get(key))}
        if value := found.get(LOADED.get(tag, "")):
            self.loads.append(value)
        if tag == "link" and found.get("rel") not in ("canonical", "prev", "next"):
            self.loads.append(found["href"] or "")
        if tag == "a" and found.get("href"):
            self.links.append(found["href"] or "")


@pytest.fixture(scope="session")
def site(tmp_path_factory, worker_id) -> Path:
    """The built site; one, where several workers share the tests."""
    shared = tmp_path_factory.getbasetemp()
    folder = (shared if worker_id == "master" else shared.parent) / "documentation"
    with FileLock(f"{folder}.lock"):
        if not (folder / "site/sitemap.xml").is_file():
            done = _make(folder)
            assert done.returncode == 0, done.stdout + done.stderr
    return folder / "site"


def _make(*folders: Path) -> subprocess.CompletedProcess:
    return subprocess.run(
        [sys.executable, ROOT / "docs/make_site.py", *folders], capture_output=True, text=True, check=False
    )


@pytest.fixture(scope="module")
def pages(site) -> dict[Path, _Page]:
    return {path: _Page(path.read_text()) for path in site.rglob("*.html")}


@pytest.mark.slow
def test_nothing_is_loaded_from_elsewhere(site, pages) -> None:
    assert len(pages) > 20
    for path, page in pages.items():
        assert not [name for name in page.loads if _EXTERNAL.match(name)], path
    for path in [*site.rglob("*.css")]:
        assert not re.findall(r"(?:url\(|@import)\s*['\"]?(?:https?:)?//", path.read_text()), path


@pytest.mark.slow
def test_every_link_leads_somewhere(site, pages) -> None:
    names = {path.resolve(): page.names for path, page in pages.items()}
    for path, page in pages.items():
        for link in [*page.links, *page.loads]:
            place = urlsplit(link)
            if place.scheme or place.netloc:
                assert place.scheme in ("https", "mailto"), f"{path}: {link}"
                continue
            base = site if place.path.startswith("/") else path.parent
            target = (base / unquote(place.path).lstrip("/")).resolve() if place.path else path.resolve()
            if path.name == "404.html":
                continue  # its links are of the server's root
            assert target.exists(), f"{path}: {link}"
            if place.fragment and target in names:
                assert unquote(place.fragment) in {*names[target], "__"}, f"{path}: {link}"


@pytest.mark.slow
def test_formulas_are_mathml(pages) -> None:
    for path in pages:
        text = path.read_text()
        assert "arithmatex" not in text, path
        assert not re.search(r"\\(frac|sum|operatorname|lambda)\b", text.partition('id="__search"')[0]), path
    (method,) = (path for path in pages if path.name == "method.html" and path.parent.name != "api")
    assert method.read_text().count("<math") > 40


@pytest.mark.slow
def test_every_command_and_every_loss_has_its_place(site) -> None:
    commands = (site / "commands.html").read_text()
    for name in COMMANDS:
        assert f"fakd {name}<a" in commands
    losses = (site / "api/losses.html").read_text()
    assert 'id="fakd.functional.augmented_channel_kd"' in losses
    assert "N(s_i, lambda * Sigma_{y_i})" in losses  # underscores are subscripts, not emphasis


@pytest.mark.slow
@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("[a](none.md) ![b](none.png) [c](../none.py)", "docs/index.md links to none.png, which is not there"),
        ("[b](#nowhere)", "anchor does not exist"),
    ],
)
def test_a_broken_link_ends_the_build(tmp_path, text, fault) -> None:
    (tmp_path / "docs").mkdir()
    (tmp_path / "docs/index.md").write_text(f"# A\n\n{text}\n")
    settings = (ROOT / "zensical.toml").read_text()
    settings = re.sub(r"^nav = .*?^\]$", 'nav = ["index.md"]', settings, flags=re.DOTALL | re.MULTILINE)
    (tmp_path / "zensical.toml").write_text(settings)
    done = _make(tmp_path / "build", tmp_path)
    assert done.returncode == 1
    assert fault in done.stdout + done.stderr
    assert "Traceback" not in done.stderr


def test_links_of_the_readme_lead_somewhere() -> None:
    for name in ("README.md", "CONTRIBUTING.md", "CHANGELOG.md"):
        text = re.sub(r"^```.*?^```$", "", (ROOT / name).read_text(), flags=re.DOTALL | re.MULTILINE)
        for link in re.findall(r"\]\(([^)\s]+)\)", text):
            place = urlsplit(link)
            if place.scheme or place.netloc:
                assert place.scheme == "https", f"{name}: {link}"
                assert "." in place.netloc, f"{name}: {link}"
            else:
                assert (ROOT / place.path).exists(), f"{name}: {link}"
