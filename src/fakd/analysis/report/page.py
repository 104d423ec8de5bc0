"""The page itself: one HTML file with everything in it."""

import base64
import hashlib
import json
import shlex
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from importlib.resources import files
from pathlib import Path
from typing import Any, NamedTuple

import yaml
from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup
from plotly.offline import get_plotlyjs

from fakd import __version__
from fakd.analysis.groups import Group, gains
from fakd.analysis.report.page_tables import class_table, confusion_table, group_table, run_names, run_table
from fakd.analysis.report.pictures import Confusion, Gallery
from fakd.analysis.report.plots import class_gains, curves, logged_names
from fakd.analysis.run_options import command_words
from fakd.analysis.runs import Run
from fakd.analysis.statistics import difference_text
from fakd.analysis.verdicts import group_verdicts, learnt_nothing


class _Details(NamedTuple):
    """What is written about one run at the foot of the page."""

    name: str
    command: str
    config: str
    versions: dict[str, str]


def render(
    groups: Sequence[Group],
    unfinished: Sequence[Path],
    teachers: Mapping[str, Run | None],
    gallery: Gallery,
    title: str,
) -> str:
    """The page as HTML.

    Args:
        groups: of finished runs.
        unfinished: folders of runs that are only named.
        teachers: by folder of a run, the run of its teacher where that is at hand.
        gallery: the pictures.
        title: heading of the page.
    """
    runs = [run for group in groups for run in group.runs]
    names = {str(run.folder): name for run, name in zip(runs, run_names(runs), strict=True)}
    collapsed = [group.label for group in groups if learnt_nothing(group)]
    plots = {"curves": curves(groups), "gains": class_gains(groups)}
    data = {"plots": plots, "gallery": {"pictures": gallery.pictures, "layers": gallery.layers, "start": gallery.start}}
    scripts = [get_plotlyjs(), _asset("page.js")]
    environment = Environment(
        loader=PackageLoader("fakd.analysis.report", "."),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=StrictUndefined,
    )
    return environment.get_template("template.html").render(
        title=title,
        summary=_summary(groups),
        verdicts=group_verdicts(groups),
        collapsed=bool(collapsed),
        confusions=[
            confusion_table(f"confusion-{place}", found, groups[0].classes)
            for place, found in enumerate(_shown(gallery, collapsed))
        ],
        tables=[group_table(groups, teachers), class_table(groups, teachers), run_table(groups, names, teachers)],
        plots=plots,
        logged=logged_names(groups),
        gallery=gallery,
        details=[_details(run, names[str(run.folder)]) for run in runs],
        unfinished=unfinished,
        created=datetime.now(UTC).strftime("%d %B %Y, %H:%M UTC"),
        version=__version__,
        data=_json(data),
        style=Markup(_asset("style.css")),
        scripts=[_script(text) for text in scripts],
        policy=_policy(scripts),
    )


def _shown(gallery: Gallery, collapsed: Sequence[str]) -> list[Confusion]:
    """The confusion matrices of the networks that learnt nothing, or else that of the best student."""
    wanted = collapsed or [layer.label for layer in gallery.layers[gallery.start : gallery.start + 1]]
    return [found for found in gallery.confusions if found.label in wanted]


def _summary(groups: Sequence[Group]) -> str:
    """What came out, in one sentence."""
    means = {group: found.mean for group in groups if group.method and (found := group.spread("mIoU"))}
    if not means:
        return ""
    budget = Counter(group.budget for group in means).most_common(1)[0][0]
    equal = {group: score for group, score in means.items() if group.budget == budget}
    best = max(equal, key=equal.__getitem__)
    of = "of the same budget " if len(equal) < len(means) else ""
    among = f"Highest mean mIoU of {len(equal)} kinds of runs {of}".rstrip() if len(means) > 1 else "Mean mIoU"
    text = f"{among}: {best.label} with {equal[best]:.2f} %"
    if (gain := gains(groups, "mIoU").get(best)) is not None:
        text += f", {difference_text(gain)} points against the student alone".replace("-", "\N{MINUS SIGN}")
    few = " One seed says little about which is better." if len(best.runs) == 1 else ""
    return f"{text}.{few}"


def _details(run: Run, name: str) -> _Details:
    config = yaml.safe_dump(run.config, sort_keys=False, allow_unicode=True)
    return _Details(name, shlex.join(command_words(run.config)), config, run.versions)


def _asset(name: str) -> str:
    return files("fakd.analysis.report").joinpath(name).read_text(encoding="utf-8")


def _script(text: str) -> Markup:
    """A script as it may stand in a page; the text must not end its element early."""
    assert "</script" not in text.lower()
    assert "<!--" not in text
    return Markup(f"<script>{text}</script>")


def _policy(scripts: Sequence[str]) -> str:
    """Content-Security-Policy: these scripts, styles of the page, pictures of the page, and nothing from elsewhere."""
    hashes = [base64.b64encode(hashlib.sha256(text.encode()).digest()).decode() for text in scripts]
    sources = " ".join(f"'sha256-{digest}'" for digest in hashes)
    return (
        f"default-src 'none'; script-src {sources}; style-src 'unsafe-inline'; img-src data: blob:; "
        "base-uri 'none'; form-action 'none'"
    )


def _json(data: dict[str, Any]) -> Markup:
    """JSON as it may stand in a script element, where no other character is special."""
    text = json.dumps(data, default=asdict, allow_nan=False, separators=(",", ":"), ensure_ascii=False)
    return Markup(text.replace("&", r"\u0026").replace("<", r"\u003c").replace(">", r"\u003e"))
