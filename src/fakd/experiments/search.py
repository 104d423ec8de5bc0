"""The search for a method's options: trials, each of which is a run, and the file that remembers them."""

import warnings
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from statistics import median
from typing import Any, NamedTuple

import optuna
from matplotlib import pyplot
from optuna.exceptions import ExperimentalWarning
from optuna.storages.journal import JournalFileBackend, JournalStorage
from optuna.trial import TrialState
from optuna.visualization.matplotlib import plot_optimization_history

from fakd.analysis.figures.style import STYLE
from fakd.analysis.runs import read_run
from fakd.data.seeds import mixed_seed
from fakd.experiments.planned_run import PlannedRun

Span = tuple[float, float]
"""The least and the largest value of an option."""
Plan = Callable[[int, Mapping[str, float], Mapping[str, float]], PlannedRun]
"""The run of a trial, of its number, the values of the options, and the scores it must reach at its evaluations."""

_BEFORE_PRUNING = 5
"""Trials that must have been finished before others are measured by them, as Optuna's own pruners have it."""


class PlannedTrial(NamedTuple):
    """A trial that is begun and not finished."""

    search: "Search"
    number: int
    run: PlannedRun


class Search:
    """The trials of one method, of all processes and starts that share a file; none of them is ever begun twice.

    The first has the defaults, the next are drawn at random, and from the tenth on Optuna's TPE sampler prefers what
    did well. What is drawn depends on the seed, the trial's number and the trials before alone.

    Args:
        file: that remembers; it is made where there is none.
        method: whose options are searched, the name of the study in the file.
        space: by the name of an option, between which values.
        defaults: their values without a search.
        wanted: how many trials there are to be.
        plan: makes the run of a trial.
        seed: of what is drawn.
        prune: whether a trial ends early where its best score so far is below the median of those that are finished.
    """

    def __init__(
        self,
        file: Path,
        method: str,
        space: Mapping[str, Span],
        defaults: Mapping[str, float],
        *,
        wanted: int,
        plan: Plan,
        seed: int,
        prune: bool,
    ) -> None:
        self.method, self.space, self.defaults, self.wanted = method, space, defaults, wanted
        self._plan, self._seed, self._prune = plan, seed, prune
        self._storage: Any = JournalStorage(JournalFileBackend(str(file)))
        self.study = optuna.create_study(
            storage=self._storage, study_name=method, direction="maximize", load_if_exists=True
        )

    @property
    def finished(self) -> list[optuna.trial.FrozenTrial]:
        """The trials that ended, early ones too."""
        ended = (TrialState.COMPLETE, TrialState.PRUNED)
        found: list[optuna.trial.FrozenTrial] = self.study.get_trials(deepcopy=False, states=ended)
        return found

    @property
    def ended_early(self) -> int:
        """How many of them ended early."""
        return sum(trial.state == TrialState.PRUNED for trial in self.finished)

    @property
    def best(self) -> optuna.trial.FrozenTrial | None:
        """The best of those that went to their end; None where none did."""
        return self.study.best_trial if self.ended_early < len(self.finished) else None

    @property
    def default(self) -> float | None:
        """The score of the first trial; None where it did not have the defaults, or diverged."""
        first = [trial for trial in self.finished if trial.number == 0 and trial.params == self.defaults]
        return first[0].value if first else None

    def at_work(self, new: int) -> list[PlannedTrial]:
        """The trials to carry out now: those that were begun and not finished, and so many new ones, if any are left.

        Where several processes share the file, no two may do this at the same time.
        """
        begun = sum(trial.state != TrialState.WAITING for trial in self.study.get_trials(deepcopy=False))
        for number in range(begun, min(begun + new, self.wanted)):
            fitting = all(low <= self.defaults[name] <= high for name, (low, high) in self.space.items())
            if number == 0 and fitting:
                self.study.enqueue_trial(dict(self.defaults), skip_if_exists=True)
            self.study.ask()
        running = self.study.get_trials(deepcopy=False, states=(TrialState.RUNNING,))
        return [PlannedTrial(self, trial.number, self.planned(trial.number)) for trial in running]

    def planned(self, number: int) -> PlannedRun:
        """The run of a trial; what is not known of it yet is drawn, and remembered."""
        trial = self._trial(number)
        values = {name: trial.suggest_float(name, *span, log=span[0] > 0) for name, span in self.space.items()}
        if "at_least" not in trial.user_attrs:
            trial.set_user_attr("at_least", self._floors())
        return self._plan(number, values, trial.user_attrs["at_least"])

    def finish(self, number: int, run: PlannedRun) -> None:
        """Remember how a trial ended; one that did not goes on at the next start.

        One whose loss became infinite or NaN is a trial too, and the worst. Where several processes share the file, no
        two may do this at the same time.
        """
        running = self.study.get_trials(deepcopy=False, states=(TrialState.RUNNING,))
        if number not in [trial.number for trial in running]:
            return  # another process was faster
        if not run.finished:
            if any(run.folder.nonfinite.glob("*")):
                self.study.tell(number, state=TrialState.PRUNED)
            return
        trial, done = self._trial(number), read_run(run.folder.root)
        for step, score in done.metrics.get("val/mIoU", ()):
            trial.report(score, step + 1)
        steps, best = done.results["steps"], done.results["best_mIoU"]
        if steps < run.config.max_steps and best is not None and run.config.gives_up(steps, best, stale=0):
            self.study.tell(number, state=TrialState.PRUNED)
        else:
            self.study.tell(number, done.results["mIoU"])

    def _floors(self) -> dict[str, float]:
        """The median of what finished trials had at each evaluation but the last."""
        finished = self.study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))
        if not self._prune or len(finished) < _BEFORE_PRUNING:
            return {}
        steps = set.intersection(*(set(trial.intermediate_values) for trial in finished))
        return {str(step): median(trial.intermediate_values[step] for trial in finished) for step in sorted(steps)[:-1]}

    def _trial(self, number: int) -> optuna.trial.Trial:
        """A trial of this process or another one, whose random numbers are its own."""
        seed = mixed_seed("trial", self._seed, self.method, number) % 2**32
        self.study.sampler = optuna.samplers.TPESampler(seed=seed, constant_liar=True)
        study = self._storage.get_study_id_from_name(self.method)
        return optuna.trial.Trial(self.study, self._storage.get_trial_id_from_study_id_trial_number(study, number))


def draw_searches(searches: Sequence[Search], path: Path) -> None:
    """Draw how the best score of each method rose from trial to trial.

    Args:
        searches: each with a finished trial.
        path: the file to write, of any of matplotlib's formats.
    """
    settings: Any = dict(STYLE)  # of the many that there are
    with pyplot.rc_context(settings), warnings.catch_warnings():
        warnings.simplefilter("ignore", ExperimentalWarning)  # such is every plot of Optuna's
        axes = plot_optimization_history([search.study for search in searches], target_name="mIoU, held-out images")
        axes.set_title("")
        figure: Any = axes.figure
        figure.savefig(path)
        pyplot.close(figure)
