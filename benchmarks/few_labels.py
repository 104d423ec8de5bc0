"""What images without labels are worth: CamVid with labels for an eighth and for a quarter of its training images.

    python benchmarks/camvid.py split CAMVID     # the data, see there
    python benchmarks/few_labels.py split        # which images keep their labels, in data/camvid-1of8 and -1of4
    python benchmarks/few_labels.py teachers     # they see the labelled images alone; 15 minutes of a core each
    python benchmarks/few_labels.py run          # two runs at a time, of 5 minutes each; goes on where it was stopped
    python benchmarks/few_labels.py page         # writes the tables into docs/benchmarks/few-labels.md

All of it starts from the root of the repository. The names of the labelled images and the results of every run are kept
in benchmarks/results/few-labels.
"""

import argparse
import hashlib
import json
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from statistics import mean, stdev

import camvid
from camvid import DATA, LITE0, STUDENT, fakd

SHARES = (8, 4)
"""One of so many training images keeps its labels."""
SEEDS = (0, 1, 2)
RESULTS, PAGE = Path("benchmarks/results/few-labels"), Path("docs/benchmarks/few-labels.md")
ROWS = {
    "labelled images alone": ("labelled", ("none", "cwd", "fakd")),
    "half of each step without labels": ("unlabelled", ("cwd", "fakd")),
}


def root(share: int) -> Path:
    """Where the data lie of which one of `share` images has labels."""
    return DATA.with_name(f"camvid-1of{share}")


def teacher(share: int) -> Path:
    """The run of the teacher that saw those labels alone."""
    return Path(f"runs/few-labels/teacher-1of{share}")


def split() -> None:
    """Link the labelled images of each share, by hash of the name, and list the others."""
    stems = sorted(path.stem for path in (DATA / "train").iterdir())
    drawn = sorted(stems, key=lambda stem: hashlib.sha256(f"label {stem}".encode()).hexdigest())
    for share in SHARES:
        labelled = sorted(drawn[: len(drawn) // share])
        RESULTS.mkdir(parents=True, exist_ok=True)
        (RESULTS / f"1of{share}.txt").write_text("".join(f"{stem}\n" for stem in labelled))
        for folder in ("train", "trainannot"):
            (root(share) / folder).mkdir(parents=True)
            for stem in labelled:
                (found,) = (DATA / folder).glob(f"{stem}.*")
                (root(share) / folder / found.name).symlink_to(found.resolve())
        for folder in ("val", "valannot"):
            (root(share) / folder).symlink_to((DATA / folder).resolve())
        others = (next((DATA / "train").glob(f"{stem}.*")).resolve() for stem in stems if stem not in labelled)
        (root(share) / "unlabelled.txt").write_text("".join(f"{path}\n" for path in others))


def on(share: int, batch: int) -> str:
    """The options of every command."""
    return (
        f"--dataset camvid --data-root {root(share)} --batch-size {batch} --learning-rate 0.02 --base-size 240,320 "
        "--workers 0 --channels-last"
    )


def teachers() -> None:
    """Train both, side by side."""
    options = "--network fcn-concat/efficientnet_lite2 --backbone-weights imagenet --crop-size 160,160 --max-steps 1000"
    with ThreadPoolExecutor() as pool:
        list(
            pool.map(
                lambda share: fakd(["train", *on(share, 8).split(), *options.split(), "--output", str(teacher(share))]),
                SHARES,
            )
        )


def words(share: int, part: str) -> list[str]:
    """The command of a share's runs on its labelled images alone, or beside the others."""
    methods = f"compare --methods none,cwd,fakd {on(share, 8)}"
    if part == "unlabelled":
        methods = f"compare --methods cwd,fakd --baseline cwd {on(share, 4)}"
        methods += f" --unlabelled {root(share) / 'unlabelled.txt'} --unlabelled-batch 4"
    common = f"--students {STUDENT} --crop-size 128,128 {LITE0} --teacher {teacher(share)} --jobs 2"
    return [*methods.split(), *common.split(), "--output", str(RESULTS / f"1of{share}" / part)]


def run() -> None:
    """Run what is not finished."""
    for part in ("unlabelled", "labelled"):
        for share in SHARES:
            fakd(words(share, part))


def summary() -> str:
    """mIoU of every row, for every share."""
    lines = ["| trained on | method | 1/8 labelled | 1/4 labelled |", "| --- | --- | ---: | ---: |"]
    for title, (part, methods) in ROWS.items():
        for method in methods:
            cells = (_cell(RESULTS / f"1of{share}" / part, method) for share in SHARES)
            lines.append(f"| {title} | {method} | {' | '.join(cells)} |")
    taught = (RESULTS / f"1of{share}" / "labelled" / "cwd-seed0" / "results.json" for share in SHARES)
    scores = (json.loads(file.read_text())["teacher"]["mIoU"] for file in taught)
    lines.append(f"| labelled images alone | the teacher | {' | '.join(f'{score:.2f}' for score in scores)} |")
    return "\n".join(lines)


def _cell(folder: Path, method: str) -> str:
    files = [folder / f"{method}-seed{seed}" / "results.json" for seed in SEEDS]
    scores = [json.loads(file.read_text())["mIoU"] for file in files if file.is_file()]
    return f"{mean(scores):.2f} ± {stdev(scores):.2f}" if len(scores) > 1 else "-"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("command", choices=("split", "teachers", "run", "page"))
    match parser.parse_args().command:
        case "split":
            split()
        case "teachers":
            teachers()
        case "run":
            run()
        case "page":
            PAGE.write_text(camvid.between_marks(PAGE.read_text(), lambda part: summary()))


if __name__ == "__main__":
    main()
