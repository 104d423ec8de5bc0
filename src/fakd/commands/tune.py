"""`fakd tune`: good options for several methods, each by as many trials, and without a look at val."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml
from filelock import FileLock
from rich.table import Table

from fakd.analysis.run_options import method_defaults, value_of
from fakd.console import console, install_command, say
from fakd.experiments.engines import EngineConfig
from fakd.experiments.inputs import check_inputs
from fakd.experiments.planned_run import PlannedRun
from fakd.experiments.run_queue import run_all
from fakd.files.atomic import write_json, write_text
from fakd.files.deleting import delete_files
from fakd.models.names import plain_name
from fakd.options import Options, check_least
from fakd.training import DistillConfig, RunConfig
from fakd.training.resuming import check_folder
from fakd.training.run_folder import RunFolder

if TYPE_CHECKING:
    from fakd.experiments.search import Search, Span

_FACTORS = {"learning_rate": 10.0, "weight": 10.0, "temperature": 4.0, "strength": 4.0}
"""What is searched unless --search says otherwise, and how far from the default, up and down."""
_NO_SEARCH = {"holdout", "epochs"}
_FILE = "trials.log"


@dataclass(kw_only=True)
class TuneConfig(DistillConfig):
    """Search good options for methods, each by as many trials, without a look at the validation split.

    A trial is a run as of `fakd distill` on a part of the training images, scored on the rest. The first of each method
    has its defaults. Trials that are finished stay, those that were interrupted go on; several machines may search
    together by the same command, where they share the output.
    """

    method: str = "fakd"
    """Methods to tune, with commas in between; none is the student alone."""
    trials: int = 20
    """How many trials each method gets."""
    search: Options = field(default_factory=dict)
    """Options to search, of the methods or of the run, as --search.strength 0.1,4 --search.weight-decay 1e-5,1e-3; null
    leaves one out. By default the learning rate, weights, temperature and strength, up to 10 or 4 times the default."""
    prune: bool = True
    """Whether a trial ends early whose best evaluation so far is below the median of the method's finished ones."""
    jobs: int | None = None
    """How many runs at once; by default one per GPU, or one on a CPU, whose cores they share."""

    holdout: float = 0.2
    """Share of the training images, by a hash of their names, that trials are scored on and not trained on."""
    resume: bool = True
    """Go on with the trials that are there; false refuses a folder that holds any."""
    overwrite: bool = False
    """Delete these trials first; what else is there stays."""

    def __post_init__(self) -> None:
        """Check the run of every method without touching data or networks.

        Raises:
            ValueError: a value is out of range, or options contradict each other.
            ModuleNotFoundError: Optuna is not installed.
        """
        if find_spec("optuna") is None:
            raise ModuleNotFoundError(f"searching needs optuna, which is not installed: {install_command('tune')}")
        self.given = {item.name: getattr(self, item.name) for item in fields(DistillConfig)}
        """The options as they came, before defaults were worked out."""
        self.methods = [name.strip() for name in self.method.split(",")]
        if len(set(self.methods)) < len(self.methods):
            raise ValueError(f"method has a name twice in {self.method!r}; name each once.")
        check_least(self, trials=1, jobs=1)
        if not self.holdout:
            raise ValueError("holdout must be above 0: options that are chosen by the validation split prove nothing.")
        base = self._run(self.methods[0], {})  # whose data set is resolved
        assert base.dataset is not None
        self.output = Path(self.output or Path("runs") / base.dataset / f"tune-{plain_name(self.student)}")
        self.bases = {method: self._run(method, {}, output=self.output / method) for method in self.methods}
        """A run of each method as it is without a search."""
        self.spaces = self._spaces()
        """What is searched for each method, and between which values."""

    def plan(self, method: str, number: int, values: Mapping[str, float], floors: Mapping[str, float]) -> PlannedRun:
        """The run of a trial.

        Args:
            method: what is tuned.
            number: of the trial.
            values: of the options that are searched.
            floors: the mIoU to be reached by step.
        """
        assert self.output is not None  # resolved above
        name = f"trial-{number:03d}"
        group = {"tracker_group": self.tracker_group or self.output.name} if self.tracker else {}
        own = {"output": self.output / method / name, "resume": True, "check_data": False, **group}
        run = self._run(method, values, at_least={**(self.at_least or {}), **floors} or None, **own)
        return PlannedRun(f"{method}-{name}", run)

    def best(self, method: str, values: Mapping[str, float]) -> dict[str, Any]:
        """The options of a run with these values on all training images, validated on the split, as a file has them."""
        options = self._run(method, values, holdout=0.0, output=None).to_dict()
        without = ("output", "resume", "overwrite", "allow_changed_data")
        return {name: value for name, value in options.items() if value is not None and name not in without}

    def start(self, method: str) -> dict[str, float]:
        """The options that can be searched, with the values that they have without a search."""
        base = self.bases[method]
        known = {name: value for name, value in method_defaults(method).items() if isinstance(value, float)}
        of_run = {item.name: getattr(base, item.name) for item in fields(RunConfig) if item.name not in _NO_SEARCH}
        return {name: value for name, value in of_run.items() if isinstance(value, float)} | {
            name: float(base.options.get(name, value)) for name, value in known.items()
        }

    def _spaces(self) -> "dict[str, dict[str, Span]]":
        asked = {name.replace("-", "_"): value_of(value) for name, value in self.search.items()}
        starts = {method: self.start(method) for method in self.methods}
        known = list(dict.fromkeys(name for start in starts.values() for name in start))
        if unknown := [name for name in asked if name not in known]:
            raise ValueError(f"search has {', '.join(unknown)}; what can be searched here is {', '.join(known)}.")
        spaces: dict[str, dict[str, Span]] = {}
        for method, start in starts.items():
            spans = {name: _span(name, asked[name]) if name in asked else _around(name, start[name]) for name in start}
            spaces[method] = {name: span for name, span in spans.items() if span is not None}
            if not spaces[method]:
                raise ValueError(f"search leaves nothing to search for method {method!r}.")
        return spaces

    def _run(self, method: str, values: Mapping[str, float], **changes: Any) -> DistillConfig:
        of_method = {name: value for name, value in values.items() if name in method_defaults(method)}
        of_run = {name: value for name, value in values.items() if name not in of_method}
        given = {**self.given, "method": method, "resume": False, "overwrite": False}
        return DistillConfig(**{**given, **of_run, "options": {**self.options, **of_method}, **changes})


def _span(name: str, given: Any) -> "Span | None":
    """Between which values an option is searched; None where it is not.

    Raises:
        ValueError: these are not two numbers, the smaller first.
    """
    if given is None:
        return None
    pair = list(given) if isinstance(given, Sequence) and not isinstance(given, str) else [given]
    if len(pair) != 2 or not all(type(value) in (int, float) for value in pair) or pair[0] >= pair[1]:
        raise ValueError(f"search.{name} must be two numbers, the smaller first, as 0.1,4, or null; got {given!r}.")
    return float(pair[0]), float(pair[1])


def _around(name: str, start: float) -> "Span | None":
    """Between which values an option is searched by default; None where it is not."""
    kind = "weight" if name.endswith("_weight") and name != "aux_weight" else name
    return (start / _FACTORS[kind], start * _FACTORS[kind]) if kind in _FACTORS and start > 0 else None


def tune(config: TuneConfig) -> dict[str, Any] | None:
    """Carry out the trials that are left; write METHOD.yaml with the best options of each, tuning.json and tuning.svg.

    Returns:
        What tuning.json holds, or None if the user stopped it.

    Raises:
        ValueError: trials failed, or none was finished; or the teacher or the data do not fit.
        FileExistsError: there are trials, and they are not to be gone on with.
    """
    from fakd.experiments.search import Search

    root = config.output
    assert root is not None  # resolved by the config
    base = config.bases[config.methods[0]]
    anew = (root / _FILE).exists() and config.overwrite
    if anew:
        check_inputs(base, [base])
        _delete(root, config.methods)
    if (root / _FILE).exists() and not config.resume:
        raise FileExistsError(f"{root} holds trials: leave out --no-resume to go on, or give another --output.")
    root.mkdir(parents=True, exist_ok=True)
    lock = FileLock(root / ".trials.lock")
    with lock:
        searches = [
            Search(
                root / _FILE,
                method,
                config.spaces[method],
                {name: config.start(method)[name] for name in config.spaces[method]},
                wanted=config.trials,
                plan=partial(config.plan, method),
                seed=config.seed,
                prune=config.prune,
            )
            for method in config.methods
        ]
    begun = [search.planned(search.finished[0].number) for search in searches if search.finished]
    for run in begun:  # so that a change of options is found before anything is begun
        check_folder(run.config, run.folder)
    if any(len(search.finished) < config.trials for search in searches):
        if not anew:
            check_inputs(base, [base, *(run.config for run in begun)])
        say(f"{config.trials} trials of {', '.join(config.methods)} below {root}", style="bold")
    failed: dict[str, str] = {}
    while True:
        with lock:
            for trial in [trial for search in searches for trial in search.at_work(0)]:
                trial.search.finish(trial.number, trial.run)  # whose run was finished as this command was killed
            new = max(1, (config.jobs or 1) // len(searches))
            trials = [trial for search in searches for trial in search.at_work(new) if trial.run.name not in failed]
            trials.sort(key=lambda trial: trial.number)
        if not trials:
            break
        failures = run_all([trial.run for trial in trials], EngineConfig(jobs=config.jobs))
        with lock:
            for trial in trials:
                trial.search.finish(trial.number, trial.run)
        if failures is None:
            return None
        failed |= {failure.name: f"{failure.reason} (log: {failure.log})" for failure in failures}
    outcome = {search.method: _outcome(search) for search in searches}
    left = [trial.run.name for search in searches for trial in search.at_work(0)]
    unfinished = {name: why for name, why in failed.items() if name in left}  # the others diverged, or are done
    if best := {method: found for method, found in outcome.items() if found["best"] is not None}:
        _write(searches, best, outcome, config)
    if unfinished or len(best) < len(outcome):
        listed = "; ".join(f"{name}: {why}" for name, why in unfinished.items()) or "every loss became infinite or NaN"
        raise ValueError(f"{len(unfinished)} trials failed; the same command tries them again. {listed}")
    return outcome


def _outcome(search: "Search") -> dict[str, Any]:
    """What came of a method's trials."""
    best = search.best
    return {
        "trials": len(search.finished),
        "ended early": search.ended_early,
        "default": search.default,
        "best": None if best is None else best.value,
        "best trial": None if best is None else best.number,
        "options": None if best is None else best.params,
        "searched": {name: list(span) for name, span in search.space.items()},
    }


def _write(
    searches: "Sequence[Search]", best: Mapping[str, Any], outcome: Mapping[str, Any], config: TuneConfig
) -> None:
    from fakd.experiments.search import draw_searches

    root = config.output
    assert root is not None
    table = Table("method", "trials", "ended early", "default", "best", "options of the best")
    for method, found in best.items():
        write_text(root / f"{method}.yaml", yaml.safe_dump(config.best(method, found["options"]), sort_keys=False))
        scores = ["-" if score is None else f"{score:.2f}" for score in (found["default"], found["best"])]
        options = ", ".join(f"{name} {value:.3g}" for name, value in found["options"].items())
        table.add_row(method, str(found["trials"]), str(found["ended early"]), *scores, options)
    write_json(root / "tuning.json", outcome)
    draw_searches([search for search in searches if search.method in best], root / "tuning.svg")
    console.print()
    console.print(table)
    say(f"mIoU on {config.holdout:.0%} of the training images, which the trials were not trained on")
    say(
        f"written to {root}: tuning.json, tuning.svg, and to train with the best: fakd distill --config "
        f"{root / next(iter(best))}.yaml"
    )


def _delete(root: Path, methods: Sequence[str]) -> None:
    """Delete the trials of these methods, what is remembered of all, and what was made of it; nothing else."""
    for method in methods:
        for path in (root / method).glob("trial-*"):
            if path.is_dir() and RunFolder(path).begun:
                RunFolder(path).delete()
            elif path.suffix == ".log":
                path.unlink()
    delete_files(root, [_FILE, "tuning.json", "tuning.svg", *(f"{method}.yaml" for method in methods)])
