"""The network that teaches: opened, made fast, and brought to the student's classes."""

from pathlib import Path

from fakd.console import say
from fakd.models import Network, open_model
from fakd.models.by_name import names_trained_model
from fakd.models.inference_copy import inference_copy
from fakd.models.merged_teacher import MappedTeacher
from fakd.training.config import RunConfig
from fakd.training.teacher_options import TeacherClassesConfig

Teacher = Network | MappedTeacher


def load_teacher(name: str, config: RunConfig) -> Teacher:
    """Load a trained network for a data set, in the form that is fastest to ask.

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
    teacher, notes = open_model(name)
    groups = None
    if isinstance(config, TeacherClassesConfig):
        groups = config.class_groups(config.spec.classes, teacher.num_classes, notes)
    if groups is None and teacher.num_classes != config.spec.num_classes:
        raise ValueError(
            f"the teacher {name} scores {teacher.num_classes} classes, but {config.dataset} has "
            f"{config.spec.num_classes}. Give a teacher that was trained on {config.dataset}, or say by --class_map "
            "which of its classes belong together."
        )
    fast = inference_copy(teacher)
    if groups is None:
        return fast
    dropped = teacher.num_classes - sum(map(len, groups))
    say(f"classes   the teacher's {teacher.num_classes} become {len(groups)}, {dropped} of them dropped")
    return MappedTeacher(fast, groups)


def as_saved(name: str, teacher: Teacher) -> Teacher:
    """Read a teacher again as it was saved: what is made of it to run fast may differ from machine to machine."""
    saved = open_model(name)[0]
    return MappedTeacher(saved, teacher.groups) if isinstance(teacher, MappedTeacher) else saved
