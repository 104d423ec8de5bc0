"""What a run reads that its options only name, and that may change under the same name."""

from fakd.data.identity import digest
from fakd.models.merged_teacher import MappedTeacher
from fakd.training.config import DistillConfig, RunConfig
from fakd.training.teacher import Teacher, as_saved


def run_inputs(config: RunConfig, teacher: Teacher | None = None) -> dict[str, str]:
    """Hash the names of the classes and, where one teaches, the teacher's weights and what the class map makes of it.

    Only what another release of a library leaves as it is: the architecture's settings may get new names.
    """
    inputs = {"classes": digest(config.spec.classes)}
    if isinstance(config, DistillConfig) and teacher is not None:
        saved = as_saved(config.teacher, teacher)
        groups = saved.groups if isinstance(saved, MappedTeacher) else None
        tensors = saved.state_dict()
        inputs["teacher"] = digest(
            [repr(groups), *(part for name in sorted(tensors) for part in (name, tensors[name]))]
        )
    return inputs
