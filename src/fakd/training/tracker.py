"""Experiment trackers: Weights & Biases, MLflow and Comet, as one more logger of a run.

Fabric's own loggers are CSV and TensorBoard; those of the Trainer's package would bring a second copy of Fabric. So
these are the trackers' own clients, of which a run needs four things: begin or go on, options, values, end.

A tracked run is known by an id that lies in the run folder: whoever resumes the folder goes on in the same tracked run,
wherever the folder has been moved to, and `--overwrite`, which deletes it, begins another.
"""

import json
import os
from abc import abstractmethod
from argparse import Namespace
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from time import time
from typing import Any
from uuid import uuid4

from lightning_fabric import Fabric
from lightning_fabric.loggers.logger import Logger
from lightning_fabric.utilities.rank_zero import rank_zero_only

from fakd.console import say
from fakd.files.atomic import write_json
from fakd.training.stopping import Interrupted
from fakd.training.tracker_options import TrackerConfig

PROJECT = "fakd"
"""What trackers call the project, unless their own variable says another name."""


class Tracker(Logger):
    """A tracked run, of which the first process alone tells.

    Args:
        logs: the folder of a run's logs, which keeps the tracked run's id.
        title: how the tracker shows the run.
        group: which runs it is shown with; None is by itself.
    """

    advice: str
    """What to do where the tracker cannot be reached at the start."""

    def __init__(self, logs: Path, title: str, group: str | None) -> None:
        self.title, self.group = title, group
        self._file = logs / f"{self.name}.json"
        self._open = False

    @property
    def name(self) -> str:
        """The tracker's, as on the command line."""
        return next(name for name, kind in TRACKERS.items() if isinstance(self, kind))

    @property
    def version(self) -> str | None:
        """The tracked run's id; None before there is one."""
        return str(json.loads(self._file.read_text())["id"]) if self._file.is_file() else None

    @abstractmethod
    def begin(self, known: str | None, options: Mapping[str, Any]) -> str:
        """Make a tracked run with these options, or go on with the one that is known; its id."""

    @abstractmethod
    def send(self, values: Mapping[str, float], step: int) -> None:
        """Log values of a step."""

    @abstractmethod
    def end(self, status: str) -> None:
        """Close it: "success", "aborted" by its user, or "failed"."""

    @rank_zero_only
    def log_hyperparams(self, params: dict[str, Any] | Namespace, *args: Any, **kwargs: Any) -> None:
        """Begin, or go on, with a run's options.

        Raises:
            ConnectionError: the tracker refuses, or cannot be reached.
        """
        known = self.version
        self._file.parent.mkdir(parents=True, exist_ok=True)
        try:
            found = self.begin(known, params if isinstance(params, dict) else vars(params))
        except Exception as error:  # every tracker has errors of its own
            raise ConnectionError(
                f"{self.name} could not {'go on with' if known else 'begin'} a tracked run "
                f"({type(error).__name__}: {error}). {self.advice} Or leave out --tracker."
            ) from error
        self._open = True
        if known is None:
            write_json(self._file, {"id": found})
        say(f"tracker   {self.name}: {'going on with ' if known else ''}run {found}")

    @rank_zero_only
    def log_metrics(self, metrics: dict[str, float], step: int | None = None) -> None:
        """Log values; a tracker that fails in the middle of a run does not end it."""
        if not self._open:
            return
        try:
            self.send(metrics, step or 0)
        except Exception as error:
            self._open = False  # or every row would wait for what does not answer
            say(
                f"{self.name} does not take values any more ({type(error).__name__}: {error}). The run goes on; all "
                f"values are in {self._file.parent}, and a start with --resume tracks those that follow it.",
                style="yellow",
            )

    @rank_zero_only
    def finalize(self, status: str) -> None:
        """Close the tracked run; whether it can be reached matters no more."""
        if not self._open:
            return
        self._open = False
        try:
            self.end(status)
        except Exception as error:
            say(f"{self.name} did not close the run ({type(error).__name__}: {error})", style="yellow")


class WeightsAndBiases(Tracker):
    """A run of Weights & Biases, or with WANDB_MODE=offline a folder for `wandb sync`."""

    advice = "Log in by `wandb login`, or set WANDB_MODE=offline."

    def begin(self, known: str | None, options: Mapping[str, Any]) -> str:
        import wandb

        self._run: Any = wandb.init(
            project=os.environ.get("WANDB_PROJECT", PROJECT),
            id=known or uuid4().hex,
            resume="allow",
            name=self.title,
            group=self.group,
            config=dict(options),
            allow_val_change=True,  # of the options that a resumption may change
            dir=self._file.parent,
            settings=wandb.Settings(silent=True),
        )
        # W&B's own steps only grow, and a run that goes on at its checkpoint logs some once more.
        self._run.define_metric("step")
        self._run.define_metric("*", step_metric="step")
        return str(self._run.id)

    def send(self, values: Mapping[str, float], step: int) -> None:
        self._run.log({**values, "step": step})

    def end(self, status: str) -> None:
        self._run.finish(exit_code=int(status != "success"))


class MLflow(Tracker):
    """A run of MLflow, on the server or in the folder that MLFLOW_TRACKING_URI names."""

    advice = "Set MLFLOW_TRACKING_URI to a server that answers, or a folder."
    _STATUS = {"success": "FINISHED", "aborted": "KILLED", "failed": "FAILED"}  # noqa: RUF012

    def begin(self, known: str | None, options: Mapping[str, Any]) -> str:
        from mlflow import MlflowClient
        from mlflow.entities import Param

        self._client = MlflowClient()
        if known is not None:
            self._client.update_run(known, status="RUNNING")
            self._id = known
            return known
        project = os.environ.get("MLFLOW_EXPERIMENT_NAME", PROJECT)
        found = self._client.get_experiment_by_name(project)
        experiment = found.experiment_id if found else self._client.create_experiment(project)
        tags = {"group": self.group} if self.group else {}
        self._id = str(self._client.create_run(experiment, run_name=self.title, tags=tags).info.run_id)
        self._client.log_batch(self._id, params=[Param(name, str(value)) for name, value in options.items()])
        return self._id

    def send(self, values: Mapping[str, float], step: int) -> None:
        from mlflow.entities import Metric

        now = int(time() * 1000)
        self._client.log_batch(self._id, [Metric(name, value, now, step) for name, value in values.items()])

    def end(self, status: str) -> None:
        self._client.set_terminated(self._id, self._STATUS[status])


class Comet(Tracker):
    """An experiment of Comet, or with COMET_START_ONLINE=0 an archive for `comet upload`."""

    advice = "Log in by `comet login`, or set COMET_START_ONLINE=0."

    def begin(self, known: str | None, options: Mapping[str, Any]) -> str:
        import comet_ml

        self._run: Any = comet_ml.start(
            project_name=os.environ.get("COMET_PROJECT_NAME", PROJECT),
            experiment_key=known or uuid4().hex,
            mode="get_or_create",
        )
        self._run.set_name(self.title)
        if self.group:
            self._run.add_tag(self.group)
        self._run.log_parameters(dict(options))
        return str(self._run.get_key())

    def send(self, values: Mapping[str, float], step: int) -> None:
        self._run.log_metrics(dict(values), step=step)

    def end(self, status: str) -> None:
        self._run.log_other("status", status)
        self._run.end()


TRACKERS: dict[str, type[Tracker]] = {"wandb": WeightsAndBiases, "mlflow": MLflow, "comet": Comet}


def create_trackers(config: TrackerConfig, run: Path, logs: Path) -> Sequence[Tracker]:
    """The tracker that a run's options name, which begins where `tracked` says so; none where they name none.

    Args:
        config: of the run.
        run: its folder.
        logs: that of its logs.
    """
    return [] if config.tracker is None else [TRACKERS[config.tracker](logs, run.name, config.tracker_group)]


@contextmanager
def tracked(fabric: Fabric, options: Mapping[str, Any]) -> Iterator[None]:
    """Have the run be tracked, if it is to be; the tracker is told how it ends.

    Args:
        fabric: launched.
        options: of the run, resolved.

    Raises:
        ConnectionError: the tracker refuses, or cannot be reached.
    """
    trackers = [logger for logger in fabric.loggers if isinstance(logger, Tracker)]
    status = "failed"
    try:
        for tracker in trackers:
            tracker.log_hyperparams(dict(options))
        yield
        status = "success"
    except Interrupted:
        status = "aborted"
        raise
    finally:
        for tracker in trackers:
            tracker.finalize(status)


def track_results(fabric: Fabric, results: Mapping[str, Any], step: int) -> None:
    """Give the tracker, if there is one, what a run ended with.

    Args:
        fabric: of the run.
        results: what results.json holds, of which numbers alone are told.
        step: how many steps there were.
    """
    numbers = {f"results/{name}": value for name, value in results.items() if type(value) in (int, float)}
    for logger in fabric.loggers:
        if isinstance(logger, Tracker):
            logger.log_metrics(numbers, step)
