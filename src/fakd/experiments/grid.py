"""The options that every grid of runs has: one data set, one teacher or several as one, methods, seeds."""

from collections.abc import Mapping
from dataclasses import MISSING, dataclass, field, fields
from pathlib import Path
from typing import Any, Literal

from fakd.analysis.groups import method_title
from fakd.analysis.run_options import method_values, option_words, run_values
from fakd.data.unlabelled import UNLABELLED_SET
from fakd.evaluation.ensembles import TeacherClassesConfig, as_given, teacher_names
from fakd.experiments.engines import EngineConfig
from fakd.experiments.planned_run import PlannedRun
from fakd.methods import METHODS
from fakd.options import Options, Output, Seeds, Teachers
from fakd.training import DistillConfig, RunConfig, TrainConfig
from fakd.training.launch import share_among_tasks
from fakd.training.run_folder import RunFolder
from fakd.training.teacher_options import TeacherCacheConfig, check_teachers
from fakd.training.unlabelled import UnlabelledConfig

# What is said of the students' network, which a teacher that is trained here does not take over.
_STUDENTS_OWN = {"backbone_weights", "init", "output_stride", "head_channels", "dropout", "freeze_backbone"}
_DATA = ("dataset", "data_root")
_RUNS_OWN = {"seed", "output", "resume", "overwrite", "check_data"}


@dataclass(frozen=True)
class Arm:
    """What is run with every seed: a student, a method and its options."""

    name: str
    """The folder of its runs below the output, without the seed."""
    label: str
    """How tables call it."""
    student: str
    method: str
    options: Mapping[str, Any]
    """What is changed of the method's defaults."""
    baseline: str | None
    """Name of the arm that it is compared with; None where it is one itself."""


def arm_label(method: str, options: Mapping[str, Any]) -> str:
    """How tables call a method and its options."""
    said = (f"without {name}" if value is None else f"{name} {value}" for name, value in options.items())
    return " ".join([method_title(method), *said])


@dataclass(kw_only=True)
class GridConfig(EngineConfig, TeacherCacheConfig, TeacherClassesConfig, UnlabelledConfig, RunConfig):
    """What `fakd compare` and `fakd ablate` have in common; the options of the runs are those of `fakd distill`."""

    teacher: Teachers | None = None
    """Trained teacher: toy-scenes for the one that comes with the package, a run folder, a .safetensors file, a .pth
    checkpoint of MMSegmentation, or mmseg:NAME for one of its published ones; or another, or several, named as in `fakd
    distill`."""
    teacher_network: str | None = None
    """Network to train as the teacher first, in place of --teacher, as pspnet-r101; named as in `fakd train`."""
    teacher_options: Options = field(default_factory=dict)
    """Options of `fakd train` for that teacher where it is not trained like the students, as
    --teacher-options.max-steps 1000."""
    method_options: Options = field(default_factory=dict)
    """Options of methods, by the method's name, as --method-options.cwd.weight 1."""
    allow_bad_teacher: bool = False
    """Go on even when the teacher is no better than chance."""

    seed: int = 0
    """The first seed, and the one of a teacher that is trained here."""
    seeds: Seeds = 3
    """How many seeds, from --seed on, or which, as 0,1,2."""
    budget: Literal["steps", "minutes"] = "steps"
    """What all runs have in common: the number of steps, or the time they may train."""
    minutes: float | None = None
    """Minutes of training of every run under --budget minutes; each method's steps are worked out from a short run."""
    sort: Literal["given", "mIoU", "mAcc", "time"] = "given"
    """Order of the rows: as given, the best first, or the fastest first."""

    plan: Path | None = None
    """File to write the runs to, a line each, in place of starting them: `fakd run` does them, one or all, on any
    machine. When all are finished, the same command writes the tables."""
    output: Output | None = None
    """Folder of the runs, their logs and the tables; by default runs/DATASET/COMMAND."""
    resume: bool = True
    """Keep finished runs, and go on with interrupted ones; false refuses a folder that holds any."""
    overwrite: bool = False
    """Delete these runs first, with a teacher that was trained here; what else is there stays."""

    def __post_init__(self) -> None:
        """Check every run of the grid without touching data or networks.

        Raises:
            ValueError: a value is out of range, or options contradict each other.
        """
        self.tasks = share_among_tasks()
        """How many processes do this at the same time, as srun started them."""
        self.given = {item.name: getattr(self, item.name) for item in fields(RunConfig)}
        """The options as they came, before defaults were worked out that depend on the number of steps."""
        self.dataset = self.resolve_unlabelled(self.dataset, self.data_root, self.batch_size)
        if self.dataset == UNLABELLED_SET and self.teacher is None:
            raise ValueError("a teacher is trained on labels: say by --dataset where they are, or give --teacher.")
        if self.dataset == UNLABELLED_SET:
            self.spec  # noqa: B018 - while the teacher, whose classes it has, is known
        teacher, self.teacher = self.teacher, None  # it may lie in the output, unless that is deleted
        self.resume = self.resume and not self.overwrite
        super().__post_init__()
        self.resume = bool(self.given["resume"])
        self.teacher = None if teacher is None else as_given(teacher)
        self.check_teacher_classes(1 if teacher is None else len(teacher_names(teacher)))
        self.seed_list = self._seeds()
        """The seeds, in order."""
        self._check_budget()
        self.check_engine()
        self._check_teacher()
        self.teacher_options = run_values(TrainConfig, self.teacher_options, "teacher_options")
        # the command line spells methods as options: fakd_pixel for fakd-pixel
        given = {key.replace("_", "-"): options for key, options in self.method_options.items()}
        self.method_options = {method: method_values(method, options) for method, options in given.items()}
        arms = self.arms()
        if unused := [method for method in self.method_options if method not in {arm.method for arm in arms}]:
            raise ValueError(f"method_options are given for {', '.join(unused)}, which is not run here.")
        self.plan_runs(arms, {})
        self.plan_teacher()

    def arms(self) -> list[Arm]:
        """The rows of the table, in order.

        Raises:
            ValueError: there is no such method, or a name is given twice.
        """
        raise TypeError("a GridConfig is a CompareConfig or an AblateConfig")

    @property
    def root(self) -> Path:
        """The folder of everything."""
        assert self.output is not None  # RunConfig resolves it
        return self.output

    @property
    def teacher_path(self) -> str | list[str]:
        """The teacher of every run, or several."""
        return self.teacher if self.teacher is not None else str(self.root / "teacher")

    def plan_teacher(self) -> PlannedRun | None:
        """The run that trains the teacher; None where it is trained already."""
        if self.teacher_network is None:
            return None
        inherited = {key: value for key, value in self._shared().items() if key not in _STUDENTS_OWN}
        if "epochs" in self.teacher_options:
            inherited["max_steps"] = None
        options = {**inherited, "network": self.teacher_network, "seed": self.seed, **self.teacher_options}
        return PlannedRun("teacher", TrainConfig(**{**options, "output": self.root / "teacher", "resume": self.resume}))

    def plan_runs(self, arms: list[Arm], steps: Mapping[str, int]) -> dict[tuple[str, int], PlannedRun]:
        """Every run, by the name of its arm and its seed; seed by seed, so that the first are soon seen side by side.

        Args:
            arms: what to run.
            steps: by the name of an arm, how many steps it gets; the others get `max_steps`.
        """
        return {
            (arm.name, seed): self.plan_run(arm, seed, steps.get(arm.name)) for seed in self.seed_list for arm in arms
        }

    def plan_run(self, arm: Arm, seed: int, steps: int | None = None, **changes: Any) -> PlannedRun:
        """One run.

        Args:
            arm: what to run.
            seed: with which seed.
            steps: how many; None is `max_steps`.
            changes: any other options.
        """
        options: dict[str, Any] = {**self._shared(), "teacher": self.teacher_path, "resume": self.resume}
        options |= {"student": arm.student, "method": arm.method, "options": dict(arm.options)}
        options |= {"seed": seed, "allow_bad_teacher": self.allow_bad_teacher, "max_steps": steps or self.max_steps}
        shared = [*fields(TeacherCacheConfig), *fields(TeacherClassesConfig)]
        if METHODS[arm.method].needs != "nothing" or self.dataset == UNLABELLED_SET:  # which is refused
            shared += fields(UnlabelledConfig)
        options |= {item.name: getattr(self, item.name) for item in shared}
        options |= {"output": self.root / f"{arm.name}-seed{seed}", **changes}
        return PlannedRun(f"{arm.name}-seed{seed}", DistillConfig(**options))

    def command_line(self, command: str) -> list[str]:
        """The words that ask for this grid."""
        defaults = {item.name: {} if item.default is MISSING else item.default for item in fields(self)}
        values = {item.name: self.given.get(item.name, getattr(self, item.name)) for item in fields(self)}
        if self.dataset != UNLABELLED_SET:  # which --unlabelled says
            values["dataset"] = self.dataset
        for name in ("resume", "overwrite", "plan", "engine", "ray_address", "cpus"):  # not what came of it
            del values[name]
        changed = {name: value for name, value in values.items() if value != defaults[name]}
        # The data first, then what the comparison is about, then how every run is trained.
        changed = dict(sorted(changed.items(), key=lambda item: (item[0] not in _DATA, item[0] in self.given)))
        return ["fakd", command, *(word for name, value in changed.items() for word in option_words(name, value))]

    def _shared(self) -> dict[str, Any]:
        """What all runs have in common; epochs are steps by now. Files are checked once for all of them."""
        given = {key: value for key, value in self.given.items() if key not in _RUNS_OWN}
        group = {"tracker_group": self.tracker_group or self.root.name} if self.tracker else {}
        return {**given, "max_steps": self.max_steps, "epochs": None, "check_data": False, **group}

    def _seeds(self) -> list[int]:
        given = self.seeds
        if isinstance(given, str):
            try:
                given = [int(part) for part in given.strip("[]").split(",")]
            except ValueError:
                raise ValueError(f"seeds must be a count, as 3, or a list, as 0,1,2; got {given!r}.") from None
        seeds = list(range(self.seed, self.seed + given)) if isinstance(given, int) else given
        if not seeds or min(seeds) < 0 or len(set(seeds)) < len(seeds):
            raise ValueError(f"seeds must be one or more different numbers from 0 on, got {self.seeds!r}.")
        return seeds

    def _check_budget(self) -> None:
        if self.budget == "minutes" and (self.minutes is None or self.minutes <= 0):
            raise ValueError(f"--budget minutes needs --minutes above 0, got {self.minutes}.")
        if self.budget == "steps" and self.minutes is not None:
            raise ValueError("minutes is given, but the budget is steps: add --budget minutes, or leave out --minutes.")
        if self.tasks > 1 and (self.overwrite or self.budget == "minutes"):
            raise ValueError(
                f"srun started {self.tasks} tasks, and one must delete runs or measure steps before others begin: "
                "start a single task with --overwrite or --budget minutes."
            )

    def _check_teacher(self) -> None:
        if (self.teacher is None) == (self.teacher_network is None):
            raise ValueError(
                "say which teacher: --teacher for one that is trained, or else --teacher-network to train one."
            )
        if self.teacher is None:
            return
        if self.teacher_options:
            raise ValueError("teacher_options are for training a teacher: give --teacher-network, not --teacher.")
        if self.overwrite:
            check_teachers(self.teacher, self.root, self.spec, self)
        if RunFolder(self.root).config.is_file():
            raise ValueError(f"output {self.root} is a run, or holds the teacher; choose another --output.")
