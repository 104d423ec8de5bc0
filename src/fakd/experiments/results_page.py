"""What a grid of runs says as a document: what was done, with what, and what came out."""

import shlex
from collections.abc import Sequence

from fakd.analysis.protocol import size_text, start_text, training_lines
from fakd.analysis.statistics import MARKED
from fakd.analysis.tables import class_lines, markdown_lines
from fakd.evaluation.ensembles import teacher_names
from fakd.experiments.grid import GridConfig
from fakd.experiments.results_table import GridResults, table_lines

_LIBRARIES = {
    "fakd": "fakd",
    "python": "Python",
    "torch": "PyTorch",
    "torchvision": "torchvision",
    "timm": "timm",
    "lightning-fabric": "Lightning Fabric",
}


def results_page(results: GridResults, title: str) -> str:
    """The page as Markdown.

    Args:
        results: with at least one finished run.
        title: its heading.
    """
    several = len({group.network for group in results.students}) > 1
    names = [f"{group.label} {group.network}" if several else group.label for group in results.students]
    page = [
        f"# {title}\n",
        f"Made by\n\n```bash\n{_wrapped(results.command)}\n```\n",
        f"with {_versions(results)}.\n",
        "## Protocol\n",
        markdown_lines([["", ""], *_protocol(results)], numbers=False),
        "## Results\n",
        markdown_lines(table_lines(results)),
        _explanation(results),
        "## IoU by class\n",
        markdown_lines(class_lines(results.students, names)),
    ]
    if results.failures:
        failed = (f"- {failure.name}: {failure.reason} (`{failure.log}`)\n" for failure in results.failures)
        page += ["## Runs that failed\n", "".join(failed)]
    return "\n".join(page)


def _wrapped(words: Sequence[str]) -> str:
    """A command line, an option a line."""
    lines: list[list[str]] = [[]]
    for word in words:
        if word.startswith("--"):
            lines.append([])
        lines[-1].append(word)
    return " \\\n    ".join(map(shlex.join, lines))


def _versions(results: GridResults) -> str:
    """Libraries and machines, each that any run had."""
    found = [run.versions for group in results.students for run in group.runs]

    def said(name: str) -> str:
        return " and ".join(dict.fromkeys(versions[name] for versions in found if name in versions))

    names = [f"{title} {said(name)}" for name, title in _LIBRARIES.items() if said(name)]
    return ", ".join([*names, *(f"on {said(name)}" for name in ("machine", "gpu") if said(name))])


def _protocol(results: GridResults) -> list[list[str]]:
    config, students = results.config, results.students
    run = students[0].runs[0].config
    networks = dict.fromkeys(
        f"`{group.network}`, {(group.parameters or 0) / 1e6:.2f} M parameters" for group in students
    )
    changed = dict.fromkeys(f"`{group.label}`" for group in students if group.options["options"])
    return [
        ["data", f"{config.dataset}, {config.spec.num_classes} classes"],
        *_unlabelled(results),
        ["teacher", _teacher(results)],
        ["student", f"{', '.join(networks)}; {start_text(run)}"],
        *training_lines(run, config.spec, config.base_size or config.spec.base_size),
        ["budget", _budget(results)],
        ["seeds", ", ".join(map(str, config.seed_list))],
        ["methods", "defaults" + (f", but for {', '.join(changed)}" if changed else "")],
    ]


def _unlabelled(results: GridResults) -> list[list[str]]:
    config = results.config
    if config.unlabelled is None:
        return []
    where = ", ".join(f"`{path}`" for path in config.unlabelled)
    return [["images without labels", f"{where}, {config.unlabelled_batch} crops a step"]]


def _teacher(results: GridResults) -> str:
    config, teacher = results.config, results.groups[0]
    about = f"`{teacher.network}`, {(teacher.parameters or 0) / 1e6:.2f} M parameters"
    if config.teacher_cache is not None:
        about += f", asked once about {config.teacher_views} crops of every image ({config.teacher_cache_format})"
    if config.teacher_network is None:
        names = ", ".join(f"`{name}`" for name in teacher_names(config.teacher_path))
        return f"{about}, from {names}{_weighed(config)}"
    options = ", ".join(
        f"{name} {_value(value)}" for name, value in config.teacher_options.items() if name != "max_steps"
    )
    return f"{about}, trained for {teacher.runs[0].results['steps']:,} steps" + (f" with {options}" if options else "")


def _weighed(config: GridConfig) -> str:
    """What is said of several teachers."""
    if len(teacher_names(config.teacher_path)) == 1:
        return ""
    weights = ", ".join(f"{weight:g}" for weight in config.teacher_weights or ())
    return f"; the mean of their probabilities{f', weights {weights}' if weights else ''}"


def _budget(results: GridResults) -> str:
    config = results.config
    if config.minutes is None:
        return f"{config.max_steps:,} steps for every method"
    steps = ", ".join(f"{group.label} {group.runs[0].results['steps']:,}" for group in results.students)
    return f"{config.minutes:g} minutes of training for every method, by a short run of each: {steps} steps"


def _value(value: object) -> str:
    return size_text(value) if isinstance(value, tuple) and all(isinstance(side, int) for side in value) else str(value)


def _explanation(results: GridResults) -> str:
    config = results.config
    one = "several networks as one" if len(teacher_names(config.teacher_path)) > 1 else "one network"
    sentences = [f"Scores are percent, mean ± sample standard deviation over seeds; the teacher is {one}."]
    if config.score != "mIoU":
        sentences.append(
            "No image is labelled: scores say how far a student agrees with the teacher's own masks of images set "
            "aside, and not how far it is right."
        )
    baselines = list(dict.fromkeys(group.baseline.label for group in results.students if group.baseline))
    if baselines:
        than = f"`{baselines[0]}`" if len(baselines) == 1 else "the row named beside it"
        sentences.append(
            f"Δ is the mean difference to {than} over the seeds that both have, with Student's 95 % confidence "
            f"interval of the differences between runs of the same seed; it needs two seeds or more. {MARKED}"
        )
    size = size_text(config.crop_size or config.spec.crop_size)
    sentences.append(f"GMACs are of one image of {size}. Seconds are of training, without evaluation.")
    if config.jobs and config.jobs > 1:
        sentences.append(
            f"{config.jobs} runs at a time shared the machine, so that seconds are longer than of one alone."
        )
    if results.paper:
        sentences.append(
            "The paper's scores are of the same data set, networks and method, at 40,000 steps of 16 crops; in "
            "parentheses ours minus the published."
        )
    return "\n".join(sentences) + "\n"
