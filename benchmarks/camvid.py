"""The benchmark on real street scenes: its data, its teacher, its runs, and the page with its tables.

    python benchmarks/camvid.py split CAMVID     # 100 training images are set aside and scored with val, in data/camvid
    python benchmarks/camvid.py teacher          # 25 minutes of one core
    python benchmarks/camvid.py better-teacher   # 70 minutes of one core; for the parts better-teacher*
    python benchmarks/camvid.py run [PART ...]   # two runs at a time, of 5 to 10 minutes each; goes on
    python benchmarks/camvid.py page             # the tables of docs/benchmarks/camvid.md and docs/teacher-cache.md

Every part is one `fakd compare` or `fakd ablate`, printed before it is run and above its table. The results of every
run are kept in benchmarks/results/camvid, so what is finished there is not run again. All of it starts from the root of
the repository.
"""

import argparse
import hashlib
import json
import re
import shlex
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import matplotlib.pyplot as plt

from fakd.analysis.statistics import difference_text, paired_difference, spread, spread_text

DATA, RUNS, CACHE = Path("data/camvid"), Path("runs/camvid"), Path("runs/camvid/cache")
RESULTS, PAGE = Path("benchmarks/results/camvid"), Path("docs/benchmarks/camvid.md")
PICTURE, CACHE_PAGE = Path("docs/images/camvid.svg"), Path("docs/teacher-cache.md")
SET_ASIDE = 100

ON_CAMVID = f"--dataset camvid --data-root {DATA} --batch-size 8 --learning-rate 0.02 --base-size 240,320 --workers 0"
STUDENT = "fcn-concat/efficientnet_lite0"
LITE0 = "--backbone-weights imagenet --max-steps 500 --eval-every 500"
LONG = "--max-steps 1500 --eval-every 1500 --teacher-views 16"
CACHED = f"--teacher-cache {CACHE}"
FAST = "--channels-last"
"""The same numbers but for rounding, in five sixths of the time; the runs of `cached` were made without."""
FULL = "--method-options.fakd.covariance full --method-options.fakd.strength 0.3"
VIEWS = (1, 4, 8, 16)
BETTER = f"--teacher {RUNS / 'better-teacher'}"
TEACHERS = {"teacher": "--max-steps 1500", "better-teacher": f"--max-steps 6000 {FAST}"}
METHODS = "none,pixel,cwd,cwd-features,at,fitnet,skds,ifvd,cirkd,fakd-pixel,fakd"

PARTS = {
    "seeds": ("cached", f"compare --methods none,cwd,fakd --baseline cwd --seeds 10 {LITE0} {CACHED}"),
    "reference": ("cached", f"ablate --vary.reference none {LITE0} {CACHED}"),
    "strength": ("cached", f"ablate --vary.strength 0.5,1,1.5,2.5,4,8 {LITE0} {CACHED}"),
    "methods": ("all", f"compare --methods {METHODS} --baseline cwd {LITE0} {FAST}"),
    **{
        f"{method}-moved": ("all", f"ablate --method {method} --vary.augment-logits 1 {LITE0} {FAST}")
        for method in ("cirkd", "ifvd", "skds")
    },
    "skds-parts": ("all", f"ablate --method skds --vary.adversarial-weight 0 --vary.pixel-weight 1 {LITE0} {FAST}"),
    "seeds-pixel": ("all", f"compare --methods pixel,fakd-pixel --baseline pixel --seeds 5 {LITE0} {FAST}"),
    # with constant variances, the gradient of fakd's bound "paper" is that of reference none, which has a part above
    "forms": ("cached", f"ablate --vary.bound tight --vary.covariance full {LITE0} {CACHED}"),
    "forms-full": ("full", f"ablate --vary.strength 0.1 {FULL} {LITE0} {CACHED} {FAST}"),
    "seeds-full": ("full", f"compare --methods fakd --baseline fakd --seeds 10 {FULL} {LITE0} {CACHED} {FAST}"),
    "forms-pixel": ("all", f"ablate --method fakd-pixel --vary.bound paper,tight {LITE0} {FAST}"),
    "printed-gradient": (
        "printed",
        f"ablate --vary.bound tight --method-options.fakd.detach-classifier false {LITE0} {CACHED} {FAST}",
    ),
    "long": (
        "long",
        f"compare --methods none,cwd,fakd --baseline cwd --seeds 5 --backbone-weights imagenet {LONG} {CACHED} {FAST}",
    ),
    "better-teacher": (
        "better",
        f"compare --methods cwd,fakd --baseline cwd --seeds 5 --backbone-weights imagenet {LONG} {CACHED} {FAST} "
        f"{BETTER}",
    ),
    "better-teacher-short": (
        "better-short",
        f"compare --methods cwd,fakd --baseline cwd --seeds 10 {LITE0} {CACHED} {FAST} {BETTER}",
    ),
    "minutes": ("minutes", f"compare --methods none,cwd,fakd --budget minutes --minutes 4 {LITE0} {FAST}"),
    "scratch": (
        "scratch",
        "compare --students fcn-concat/mobilenetv3_small_050 --methods none,pixel,cwd,fakd --baseline cwd "
        f"{LONG} {CACHED} {FAST}",
    ),
    "uncached": ("all", f"compare --methods cwd,fakd --baseline cwd --seeds 10 {LITE0} {FAST}"),
    **{
        f"views-{views}": (
            "cached" if views == 8 else f"views-{views}",
            f"compare --methods cwd,fakd --baseline cwd {LITE0} {CACHED} --teacher-views {views}",
        )
        for views in VIEWS
    },
}
"""Name -> folder of the runs, which parts may share, and command without what all have in common."""
BESIDE = {
    "printed-gradient": {
        "fakd": ("cached", "fakd"),
        "variances train the classifier, printed bound": ("printed", "fakd"),
        "variances train the classifier, tight bound": ("printed", "fakd-bound-tight"),
    },
    **{
        part: {
            "student alone": (first, "none"),
            "cwd, first teacher": (first, "cwd"),
            "fakd, first teacher": (first, "fakd"),
            "cwd, better teacher": (better, "cwd"),
            "fakd, better teacher": (better, "fakd"),
        }
        for part, first, better in (
            ("better-teacher", "long", "better"),
            ("better-teacher-short", "cached", "better-short"),
        )
    },
    "seeds-full": {
        "cwd": ("cached", "cwd"),
        "fakd": ("cached", "fakd"),
        "fakd, full covariance, strength 0.3": ("full", "fakd"),
    },
}
"""Parts whose table is of runs in several folders: row -> folder and method, compared with the first row."""
NO_SCORE = ("parameters", "GMACs", "s / step", "seconds", "peak")
"""Columns that are the same for every method of a part, or that other work on the machine changed."""


def words(part: str) -> list[str]:
    """The command of a part."""
    folder, (command, *rest) = PARTS[part][0], PARTS[part][1].split()
    own = [] if "--students" in rest else [{"compare": "--students", "ablate": "--student"}[command], STUDENT]
    own += [] if "--teacher" in rest else ["--teacher", str(RUNS / "teacher")]
    where = ["--output", str(RESULTS / folder)]
    return [command, *ON_CAMVID.split(), "--crop-size", "128,128", *own, *rest, *where, "--jobs", "2"]


def split(source: Path) -> None:
    """Link CamVid's images, so that 100 of train, by hash of the name, lie in val."""
    stems = sorted(path.stem for path in (source / "train").iterdir())
    aside = set(sorted(stems, key=lambda stem: hashlib.sha256(stem.encode()).hexdigest())[:SET_ASIDE])
    for folder in ("train", "trainannot", "val", "valannot"):
        for path in (source / folder).iterdir():
            target = DATA / (folder.replace("train", "val") if path.stem in aside else folder) / path.name
            target.parent.mkdir(parents=True, exist_ok=True)
            target.symlink_to(path.resolve())


def teacher(name: str) -> None:
    """Train one of the teachers."""
    options = "--network fcn-concat/efficientnet_lite2 --backbone-weights imagenet --crop-size 160,160"
    fakd(["train", *ON_CAMVID.split(), *options.split(), *TEACHERS[name].split(), "--output", str(RUNS / name)])


def fakd(command: list[str]) -> None:
    """Say a command, and run it."""
    print(f"$ {shlex.join(['fakd', *command])}", flush=True)
    subprocess.run([sys.executable, "-m", "fakd", *command], check=True)


def run(part: str) -> None:
    """Run what is not finished of a part, and keep its table under its own name."""
    fakd(words(part))
    folder, command = PARTS[part]
    written = RESULTS / folder / ("comparison.md" if command.startswith("compare") else "ablation.md")
    (RESULTS / f"{part}.md").write_text(written.read_text())
    for file in written.parent.glob(f"{written.stem}.*"):
        file.unlink()


def tables(part: str) -> str:
    """The command of a part and its scores; where the other tables are, or for the first part these too."""
    page = (RESULTS / f"{part}.md").read_text()
    if part == "seeds":
        return re.sub(r"^## ", "### ", page.partition("\n")[2].strip(), flags=re.MULTILINE)
    lines = paired_table(BESIDE[part]) if part in BESIDE else score_table(page)
    command = "\n".join([f"python benchmarks/camvid.py run {part}", f"# fakd {PARTS[part][1]}"])
    return "\n".join(["```bash", command, "```", "", *lines, "", f"Protocol and IoU by class: `{RESULTS / part}.md`."])


def score_table(page: str) -> list[str]:
    """The lines of a comparison's first table, without what the page has no use for."""
    rows = [line.strip("| ").split(" | ") for line in page.partition("## Results")[2].splitlines() if line[:1] == "|"]
    rows = rows[: next((number for number, row in enumerate(rows) if row[0] == "IoU %"), None)]
    kept = [number for number, title in enumerate(rows[0]) if not title.startswith(NO_SCORE)]
    return ["| " + " | ".join(row[number] for number in kept) + " |" for row in rows]


def paired_table(runs: dict[str, tuple[str, str]]) -> list[str]:
    """mIoU of each row's folder and method, and its difference to the first row's, seed by seed."""
    lines = ["| method | seeds | mIoU % | Δ mIoU [95 % CI] |", "| --- | ---: | ---: | ---: |"]
    first, *_ = (scores(*run) for run in runs.values())
    for title, run in runs.items():
        found = scores(*run)
        gain = "-" if found == first else difference_text(paired_difference(found, first))
        lines.append(f"| {title} | {len(found)} | {spread_text(spread(found.values()), 2)} | {gain} |")
    return lines


def cache_table() -> str:
    """What the teacher cache costs: every number of views against the teacher asked in every step, seed by seed."""
    titles = ("crops of an image", "seeds", "cwd", "against no cache", "fakd", "against no cache")
    lines = [f"| {' | '.join(titles)} |", "| --- |" + " ---: |" * 5]
    live = {method: scores("all", method) for method in ("cwd", "fakd")}
    folders = {str(views): PARTS[f"views-{views}"][0] for views in VIEWS} | {"a new one each pass": "all"}
    for title, folder in folders.items():
        found = {method: scores(folder, method) for method in live}
        cells = [title, str(len(found["cwd"]))]
        for method, uncached in live.items():
            loss = None if folder == "all" else paired_difference(found[method], uncached)
            cells += [spread_text(spread(found[method].values()), 2), difference_text(loss) if loss else "-"]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def scores(folder: str, method: str) -> dict[int, float]:
    """mIoU by seed, of the seeds that are finished."""
    files = {seed: RESULTS / folder / f"{method}-seed{seed}" / "results.json" for seed in range(10)}
    return {seed: json.loads(file.read_text())["mIoU"] for seed, file in files.items() if file.is_file()}


def between_marks(text: str, tables: Callable[[str], str]) -> str:
    """A page with the tables of today between its marks, `<!-- PART -->` and `<!-- end -->`."""
    marked = re.compile(r"<!-- ([\w-]+) -->\n.*?<!-- end -->", re.DOTALL)
    return marked.sub(lambda found: f"<!-- {found[1]} -->\n\n{tables(found[1])}\n\n<!-- end -->", text)


def plot(path: Path, methods: Sequence[str] = ("none", "cwd", "fakd")) -> None:
    """Draw the mIoU of every seed, a line for each, below the teacher's."""
    runs = {method: sorted((RESULTS / "cached").glob(f"{method}-seed*/results.json")) for method in methods}
    found = {method: [json.loads(run.read_text()) for run in files] for method, files in runs.items()}
    plt.rcParams["svg.hashsalt"] = "camvid"  # the same file for the same scores
    figure, axes = plt.subplots(figsize=(5, 3), layout="constrained")
    for scores in zip(*found.values(), strict=False):  # as far as all methods have the seed
        axes.plot(methods, [score["mIoU"] for score in scores], color="0.7", marker="o", markerfacecolor="tab:blue")
    axes.axhline(found["cwd"][0]["teacher"]["mIoU"], color="0.3", linestyle="--")
    axes.annotate("teacher", (0, found["cwd"][0]["teacher"]["mIoU"]), va="bottom", color="0.3")
    axes.set_xticks(range(len(methods)), ["student alone", "CWD", "FAKD"])
    axes.set(ylabel="mIoU %", xlim=(-0.3, len(methods) - 0.7))
    axes.spines[["top", "right"]].set_visible(False)
    figure.savefig(path, metadata={"Date": None})


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("split").add_argument("source", type=Path)
    for name in TEACHERS:
        commands.add_parser(name)
    commands.add_parser("run").add_argument("parts", nargs="*", metavar="PART", choices=[[], *PARTS])
    commands.add_parser("page")
    asked = parser.parse_args()
    if asked.command == "split":
        split(asked.source)
    elif asked.command in TEACHERS:
        teacher(asked.command)
    elif asked.command == "run":
        for part in asked.parts or PARTS:
            run(part)
    else:
        PAGE.write_text(between_marks(PAGE.read_text(), tables))
        CACHE_PAGE.write_text(between_marks(CACHE_PAGE.read_text(), lambda part: cache_table()))
        plot(PICTURE)


if __name__ == "__main__":
    main()
