"""The options that say how a teacher's classes become the student's, for every command that distils."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from fakd.data.class_map import Groups, read_class_map, read_class_names


@dataclass(kw_only=True)
class TeacherClassesConfig:
    """What a teacher's classes are to a student that has others."""

    class_map: Path | None = None
    """YAML file for a teacher that was trained on other classes: each line one of its classes and the student's class
    that it belongs to, as "rider: person", or null to drop it."""
    teacher_classes: Path | None = None
    """File with the names of the teacher's classes, one a line, where the teacher does not bring them."""

    def check_class_map(self) -> None:
        """Make the paths paths.

        Raises:
            ValueError: names are given that nothing reads.
        """
        self.class_map = None if self.class_map is None else Path(self.class_map)
        self.teacher_classes = None if self.teacher_classes is None else Path(self.teacher_classes)
        if self.teacher_classes is not None and self.class_map is None:
            raise ValueError("teacher_classes names classes for a class map: give --class_map too, or leave it out.")

    def class_groups(self, student_classes: Sequence[str], count: int, notes: Mapping[str, str]) -> Groups | None:
        """Return which of the teacher's classes belong to each of the student's; None without a class map.

        Args:
            student_classes: their names.
            count: of the classes that the teacher scores.
            notes: what the teacher's file says about them.

        Raises:
            FileNotFoundError: there is no such file.
            ValueError: the map does not fit the classes.
        """
        if self.class_map is None:
            return None
        names = None if self.teacher_classes is None else read_class_names(self.teacher_classes)
        if names is None and "classes" in notes:
            told = json.loads(notes["classes"])
            names = tuple(map(str, told)) if isinstance(told, list) and len(told) == count else None
        return read_class_map(self.class_map, student_classes, names, count)
