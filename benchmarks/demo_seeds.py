"""Run `fakd demo` with several seeds, and print mean and standard deviation of each row as a Markdown table.

    python benchmarks/demo_seeds.py --seeds 0,1,2 --output demo-seeds

A seed that is finished is read rather than run again. Nothing else is shared between the seeds than the teacher.
"""

import argparse
import json
from pathlib import Path
from statistics import mean, stdev

from fakd.analysis.tables import markdown_lines
from fakd.commands.demo import DemoConfig, demo

ROWS = {"student alone": "none", "CWD": "cwd", "FAKD": "fakd"}


def cells(values: list[float]) -> str:
    """Mean and, of several seeds, sample standard deviation."""
    return f"{mean(values):.2f}" + (f" ± {stdev(values):.2f}" if len(values) > 1 else "")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", default="0,1,2", help="as 0,1,2")
    parser.add_argument("--output", type=Path, default=Path("demo-seeds"), help="folder for a demo of each seed")
    asked = parser.parse_args()
    folders = {seed: asked.output / f"seed{seed}" for seed in map(int, asked.seeds.split(","))}
    for seed, folder in folders.items():
        if demo(DemoConfig(output=folder, seed=seed)) is None:
            return  # interrupted: the same command goes on
    found = {
        title: [json.loads((folder / method / "results.json").read_text()) for folder in folders.values()]
        for title, method in ROWS.items()
    }
    lines = [["", "mIoU %", "gain", "s / step"], ["teacher", f"{found['FAKD'][0]['teacher']['mIoU']:.2f}", "", ""]]
    for title, runs in found.items():
        gains = [run["mIoU"] - alone["mIoU"] for run, alone in zip(runs, found["student alone"], strict=True)]
        score, step = (cells([run[name] for run in runs]) for name in ("mIoU", "seconds_per_step"))
        lines.append([title, score, "" if title == "student alone" else cells(gains), step])
    print(markdown_lines(lines))


if __name__ == "__main__":
    main()
