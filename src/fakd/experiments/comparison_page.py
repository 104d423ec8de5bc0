"""A comparison as a document: what was done, with what, and what came out."""

import json
import shlex
from collections.abc import Sequence

from fakd.analysis.tables import class_table, markdown_lines
from fakd.experiments.comparison import Comparison, Row
from fakd.experiments.comparison_table import table_lines
from fakd.training.run_folder import RunFolder

_LIBRARIES = {
    "fakd": "fakd",
    "python": "Python",
    "torch": "PyTorch",
    "torchvision": "torchvision",
    "timm": "timm",
    "lightning": "Lightning",
}


def comparison_page(comparison: Comparison, title: str) -> str:
    """The page as Markdown.

    Args:
        comparison: with at least one finished run.
        title: its heading.
    """
    parts = [
        f"# {title}\n",
        f"Made by\n\n```bash\n{_wrapped(comparison.command)}\n```\n",
        f"with {_versions(comparison)}.\n",
        "## Protocol\n",
        _protocol(comparison),
        "## Results\n",
        markdown_lines(table_lines(comparison)),
        _explanation(comparison),
        "## IoU by class\n",
        _classes(comparison),
    ]
    if comparison.failures:
        parts += ["## Runs that failed\n", _failures(comparison)]
    return "\n".join(parts)


def _wrapped(words: Sequence[str]) -> str:
    """A command line, an option a line."""
    lines: list[list[str]] = [[]]
    for word in words:
        if word.startswith("--"):
            lines.append([])
        lines[-1].append(word)
    return " \\\n    ".join(map(shlex.join, lines))


def _versions(comparison: Comparison) -> str:
    """Libraries and machines, each that any run had."""
    runs = [run for row in comparison.rows for run in row.runs.values()]
    files = [path for run in runs if (path := RunFolder(run.folder).versions).is_file()]
    found = [json.loads(path.read_text()) for path in files]

    def said(name: str) -> str:
        return " and ".join(dict.fromkeys(versions[name] for versions in found if name in versions))

    names = [f"{title} {said(name)}" for name, title in _LIBRARIES.items() if said(name)]
    return ", ".join([*names, *(f"on {said(name)}" for name in ("machine", "gpu") if said(name))])


def _protocol(comparison: Comparison) -> str:
    config, students = comparison.config, comparison.students()
    run = next(iter(students[0].runs.values())).config
    start = f"encoder from {run['backbone_weights']}" if run["backbone_weights"] else "encoder from random weights"
    start = f"weights from {run['init']}" if run["init"] else start
    extras = ", brightness, contrast, saturation and hue varied" if run["photometric"] else ""
    lines = [
        ["data", f"{config.dataset}, {config.spec.num_classes} classes"],
        [
            "training images",
            f"fitted into {_size(config.base_size or config.spec.base_size)} (height x width), random scale "
            f"{run['scale'][0]:g}-{run['scale'][1]:g}, flip{extras}, crops of {_size(_crop(comparison))}",
        ],
        ["evaluation", f"{_evaluation(comparison)}, scored at the labels' own size; the weights of the last step"],
        ["teacher", _teacher(comparison)],
        ["student", f"{', '.join(_networks(students))}; {start}"],
        [
            "optimizer",
            f"SGD {run['learning_rate']:g}, momentum {run['momentum']:g}, weight decay {run['weight_decay']:g}, "
            f"poly 0.9, batch {run['batch_size']}, auxiliary loss {run['aux_weight']:g}, {run['precision']}",
        ],
        ["budget", _budget(comparison)],
        ["seeds", ", ".join(map(str, config.seed_list))],
        ["methods", _methods(students)],
    ]
    # Text columns: to the left, unlike those of numbers.
    return "".join(f"| {' | '.join(line)} |\n" for line in [["", ""], ["---", "---"], *lines])


def _crop(comparison: Comparison) -> tuple[int, int]:
    return comparison.config.crop_size or comparison.config.spec.crop_size


def _size(size: Sequence[int]) -> str:
    return "x".join(map(str, size))


def _networks(students: Sequence[Row]) -> list[str]:
    return list(dict.fromkeys(f"`{row.student}`, {row.parameters / 1e6:.2f} M parameters" for row in students))


def _evaluation(comparison: Comparison) -> str:
    inference = comparison.config.inference(comparison.config.spec.window)
    window = inference.window
    way = "whole images" if window is None else f"windows of {_size(window.size)}, {_size(window.stride)} apart"
    extras = [f"scales {', '.join(f'{scale:g}' for scale in inference.scales)}"] if inference.scales != (1.0,) else []
    return ", ".join([way, *extras, *["flip"] * inference.flip])


def _teacher(comparison: Comparison) -> str:
    config, teacher = comparison.config, next(row for row in comparison.rows if row.method is None)
    about = f"`{teacher.student}`, {teacher.parameters / 1e6:.2f} M parameters"
    if config.teacher_network is None:
        return f"{about}, from `{config.teacher}`"
    options = ", ".join(
        f"{name} {_value(value)}" for name, value in config.teacher_options.items() if name != "max_steps"
    )
    return f"{about}, trained for {teacher.steps:,} steps" + (f" with {options}" if options else "")


def _budget(comparison: Comparison) -> str:
    config = comparison.config
    if config.minutes is None:
        return f"{config.max_steps:,} steps for every method"
    steps = ", ".join(f"{row.label} {row.steps:,}" for row in comparison.students())
    return f"{config.minutes:g} minutes of training for every method, by a short run of each: {steps} steps"


def _methods(students: Sequence[Row]) -> str:
    changed = [f"`{row.label}`" for row in students if row.options]
    return "defaults" + (f", but for {', '.join(dict.fromkeys(changed))}" if changed else "")


def _value(value: object) -> str:
    return _size(value) if isinstance(value, tuple) and all(isinstance(side, int) for side in value) else str(value)


def _explanation(comparison: Comparison) -> str:
    config = comparison.config
    sentences = ["Scores are percent, mean ± sample standard deviation over seeds; the teacher is one network."]
    baselines = list(dict.fromkeys(row.baseline for row in comparison.students() if row.baseline))
    if baselines:
        than = f"`{baselines[0]}`" if len(baselines) == 1 else "the row named beside it"
        sentences.append(
            f"Δ is the mean difference to {than} over the seeds that both have, with Student's 95 % confidence "
            "interval of the differences between runs of the same seed; it needs two seeds or more."
        )
    sentences.append(
        f"GMACs are of one image of {_size(_crop(comparison))}. Seconds are of training, without evaluation."
    )
    if config.jobs and config.jobs > 1:
        sentences.append(
            f"{config.jobs} runs at a time shared the machine, so that seconds are longer than of one alone."
        )
    if any(row.paper for row in comparison.rows):
        sentences.append(
            "The paper's scores are of the same data set, networks and method, at 40,000 steps of 16 crops; in "
            "parentheses ours minus the published."
        )
    return "\n".join(sentences) + "\n"


def _classes(comparison: Comparison) -> str:
    several = len({row.student for row in comparison.students()}) > 1
    return class_table(
        {
            f"{row.label} {row.student}" if several else row.label: list(row.runs.values())
            for row in comparison.students()
        }
    )


def _failures(comparison: Comparison) -> str:
    return "".join(f"- {failure.name}: {failure.reason} (`{failure.log}`)\n" for failure in comparison.failures)
