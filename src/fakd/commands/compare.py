"""`fakd compare`: whether distillation helped, and what it cost."""

from dataclasses import dataclass
from typing import Any

from fakd.experiments.grid import Arm, GridConfig, arm_label
from fakd.experiments.run_grid import run_grid
from fakd.methods import method_options
from fakd.models.names import plain_name
from fakd.options import Names


@dataclass(kw_only=True)
class CompareConfig(GridConfig):
    """Run several methods with several seeds on one data set, and compare them with the student alone.

    Finished runs are not run again, interrupted ones go on, and a run that fails stops no other.
    """

    students: Names = "pspnet-r18"
    """Student networks, with commas in between; named as in `fakd distill`."""
    methods: Names = "none,pixel,cwd,fakd-pixel,fakd"
    """Distillation methods, with commas in between; none is the student alone."""
    baseline: str = "none"
    """The method that the others are compared with."""

    @property
    def run_name(self) -> str:
        """Name of the folder below runs/DATASET."""
        return "compare"

    def arms(self) -> list[Arm]:
        """A row for each student and method.

        Raises:
            ValueError: there is no such method, or a name is given twice.
        """
        students, methods = _listed(self.students, "students"), _listed(self.methods, "methods")
        for method in methods:
            method_options(method)
        if self.baseline not in methods:
            raise ValueError(f"baseline {self.baseline!r} is none of the methods {', '.join(methods)}.")

        def name(student: str, method: str) -> str:
            return f"{plain_name(student)}/{method}" if len(students) > 1 else method

        return [
            Arm(
                name=name(student, method),
                label=arm_label(method, self.method_options.get(method, {})),
                student=student,
                method=method,
                options=self.method_options.get(method, {}),
                baseline=None if method == self.baseline else name(student, self.baseline),
            )
            for student in students
            for method in methods
        ]


def compare(config: CompareConfig) -> dict[str, Any] | None:
    """Run what is not finished yet, print the table, and write comparison.md, .csv, .tex and .json.

    Returns:
        What comparison.json holds, or None if interrupted.

    Raises:
        ValueError: runs failed, and are listed under the table; or the teacher or the data do not fit.
    """
    return run_grid(config, "compare", f"Methods compared on {config.dataset}", "comparison")


def _listed(names: Names, option: str) -> list[str]:
    listed = [name.strip() for name in names.split(",")] if isinstance(names, str) else list(names)
    if not listed or "" in listed:
        raise ValueError(f"{option} must be one or more names with commas in between, got {names!r}.")
    if twice := {name for name in listed if listed.count(name) > 1}:
        raise ValueError(f"{option} has {', '.join(sorted(twice))} twice; name each once.")
    return listed
