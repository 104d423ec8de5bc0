"""What teaches: one network or several, opened, made fast, and brought to the student's classes."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from torch import Tensor

from fakd.console import say
from fakd.data.class_names import Classes
from fakd.evaluation.ensembles import TeacherClassesConfig, teacher_names, teacher_title
from fakd.evaluation.predictor import base_size_in
from fakd.files.checksum import digest
from fakd.models import Ensemble, Network, Scorer, open_any
from fakd.models.inference_copy import inference_copy
from fakd.models.merged_teacher import MergedTeacher
from fakd.models.names import NetworkName, names_trained_model
from fakd.training.config import RunConfig

_OTHER_SCALE = 1.5  # within which training varies the scale anyway


@dataclass(frozen=True)
class Teacher:
    """A trained network that teaches, and what tells it from others."""

    network: Scorer
    """In the form that is fastest to ask, which may differ from machine to machine; it scores the student's classes."""
    config: str
    """The architecture it was saved with."""
    weights: str
    """A hash of its weights as they were saved, and of what the class map makes of its classes."""

    @property
    def digest(self) -> str:
        """A hash of both; equal teachers give equal words wherever they were loaded from."""
        return digest([self.config, self.weights])


def load_teacher(teacher: str | Sequence[str], config: RunConfig, given: Scorer | None = None) -> Teacher:
    """Load what teaches on a data set: a trained network, or several as one.

    Args:
        teacher: its name, as for `fakd.models.open_any`, or several; they then teach the mean of their probabilities.
        config: names the data set that each must fit, and perhaps maps of their classes, and weights.
        given: the network itself where there is one that no name is for; `teacher` is then what it is called.

    Raises:
        FileNotFoundError: there is nothing of that name, or the run is not finished.
        ValueError: a network scores other classes, and no map says what they are.
    """
    names = teacher_names(teacher)
    if given is not None and len(names) > 1:
        raise ValueError(f"one network is given, and {len(names)} names of teachers: {teacher_title(names)}.")
    options = config if isinstance(config, TeacherClassesConfig) else TeacherClassesConfig()
    members = [_load(place, name, config, options, given) for place, name in enumerate(names)]
    if len(members) == 1:
        return members[0]
    ensemble = Ensemble([member.network for member in members], options.teacher_weights)
    say(
        f"teachers  {len(members)}, of whose probabilities the student learns the mean, weights "
        f"{', '.join(f'{weight:g}' for weight in ensemble.weights)}: {teacher_title(teacher)}"
    )
    weights = digest([repr(ensemble.weights), *(member.weights for member in members)])
    return Teacher(ensemble, repr([member.config for member in members]), weights)


def _load(place: int, name: str, config: RunConfig, options: TeacherClassesConfig, given: Scorer | None) -> Teacher:
    """One of the teachers."""
    if given is None and Path(name).is_dir() and not names_trained_model(name):
        raise FileNotFoundError(
            f"{name} holds no student.safetensors: the run is not finished, or it is no run folder."
        )
    saved, notes = open_any(name) if given is None else (given, given.notes)
    if saved.gives_labels:
        raise ValueError(
            f"the teacher {name} gives labels and no scores, of which a student learns: export it with scores."
        )
    assert config.dataset is not None  # RunConfig resolves it
    config.spec.bands.check_channels(f"the teacher {name}", saved.in_channels)
    advice = f"Give a teacher that was trained on {config.dataset}, or say by --class-map which of its classes belong "
    theirs, ours = Classes.of_network(saved.num_classes, notes), Classes.of_dataset(config.spec)
    groups = options.class_groups(
        f"the teacher {name}", theirs, config.dataset, ours, place=place, advice=f"{advice}together."
    )
    _say_other_scale(name, base_size_in(notes, name), config.base_size or config.spec.base_size)
    architecture, parts = _identity(name, saved, given)
    weights = digest([repr(groups), *parts])
    fast = inference_copy(saved) if isinstance(saved, Network) else saved.eval()
    if groups is None:
        return Teacher(fast, architecture, weights)
    if options.mapped(place):
        dropped = saved.num_classes - sum(map(len, groups))
        say(f"classes   the teacher's {saved.num_classes} become {len(groups)}, {dropped} of them dropped")
    return Teacher(MergedTeacher(fast, groups), architecture, weights)


def _say_other_scale(name: str, theirs: tuple[int, int] | None, ours: tuple[int, int]) -> None:
    """Things look as large as the teacher knows them, or nearly so, or else it is said."""
    if theirs is None or 1 / _OTHER_SCALE <= min(theirs) / min(ours) <= _OTHER_SCALE:
        return
    learned, here = ("x".join(map(str, size)) for size in (theirs, ours))
    say(
        f"teacher   {name} learned from images fitted into {learned}, and is asked about images fitted into {here}; "
        f"--base-size {theirs[0]},{theirs[1]} is the scale it knows",
        style="yellow",
    )


def _identity(name: str, saved: Scorer, given: Scorer | None) -> tuple[str, list[str | Tensor]]:
    """What tells a network from others: its architecture, and what its scores depend on; of a file, its bytes."""
    tensors = saved.state_dict()
    parts = [part for key in sorted(tensors) for part in (key, tensors[key])]
    if isinstance(saved, Network):
        return repr(saved.config), parts
    if given is not None:
        return f"{type(saved).__name__} {name}", parts
    with Path(NetworkName.parse(name).network).open("rb") as file:
        return NetworkName.parse(name).kind, [*parts, hashlib.file_digest(file, "sha256").hexdigest()]


def run_inputs(config: RunConfig, teacher: Teacher | None = None) -> dict[str, str]:
    """Hash what a run reads that its options only name, and that may change under the same name.

    That is the names of the classes and, where one teaches, the teacher's weights and what the class map makes of it.
    Only what another release of a library leaves as it is: the architecture's settings may get new names.
    """
    inputs = {"classes": digest(config.spec.classes)}
    return inputs if teacher is None else {**inputs, "teacher": teacher.weights}
