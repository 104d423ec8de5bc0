"""The network that teaches: opened, made fast, and brought to the student's classes."""

from dataclasses import dataclass
from pathlib import Path

from fakd.console import say
from fakd.data.spec import check_num_classes
from fakd.files.checksum import digest
from fakd.models import Network, open_model
from fakd.models.by_name import names_trained_model
from fakd.models.inference_copy import inference_copy
from fakd.models.merged_teacher import MergedTeacher
from fakd.training.config import RunConfig
from fakd.training.teacher_options import TeacherClassesConfig


@dataclass(frozen=True)
class Teacher:
    """A trained network that teaches, and what tells it from others."""

    network: Network | MergedTeacher
    """In the form that is fastest to ask, which may differ from machine to machine; it scores the student's classes."""
    config: str
    """The architecture it was saved with."""
    weights: str
    """A hash of its weights as they were saved, and of what the class map makes of its classes."""

    @property
    def digest(self) -> str:
        """A hash of both; equal teachers give equal words wherever they were loaded from."""
        return digest([self.config, self.weights])


def load_teacher(name: str, config: RunConfig) -> Teacher:
    """Load a trained network for a data set.

    Args:
        name: as for `fakd.models.open_model`.
        config: names the data set that the teacher must fit, and perhaps a map of its classes.

    Raises:
        FileNotFoundError: there is nothing of that name, or the run is not finished.
        ValueError: the network scores another number of classes, and no map says what they are.
    """
    if Path(name).is_dir() and not names_trained_model(name):
        raise FileNotFoundError(
            f"{name} holds no student.safetensors: the run is not finished, or it is no run folder."
        )
    saved, notes = open_model(name)
    groups = None
    if isinstance(config, TeacherClassesConfig):
        groups = config.class_groups(config.spec.classes, saved.num_classes, notes)
    if groups is None:
        advice = f"Give a teacher that was trained on {config.dataset}, or say by --class-map which of its classes "
        advice += "belong together."
        check_num_classes(f"the teacher {name}", saved.num_classes, config.dataset, config.spec.num_classes, advice)
    tensors = saved.state_dict()
    parts = (part for key in sorted(tensors) for part in (key, tensors[key]))
    weights, architecture = digest([repr(groups), *parts]), repr(saved.config)
    fast = inference_copy(saved)
    if groups is None:
        return Teacher(fast, architecture, weights)
    dropped = saved.num_classes - sum(map(len, groups))
    say(f"classes   the teacher's {saved.num_classes} become {len(groups)}, {dropped} of them dropped")
    return Teacher(MergedTeacher(fast, groups), architecture, weights)


def run_inputs(config: RunConfig, teacher: Teacher | None = None) -> dict[str, str]:
    """Hash what a run reads that its options only name, and that may change under the same name.

    That is the names of the classes and, where one teaches, the teacher's weights and what the class map makes of it.
    Only what another release of a library leaves as it is: the architecture's settings may get new names.
    """
    inputs = {"classes": digest(config.spec.classes)}
    return inputs if teacher is None else {**inputs, "teacher": teacher.weights}
