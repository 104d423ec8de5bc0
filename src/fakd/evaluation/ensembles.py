"""One network or several that answer as one: how they are named, what their classes are, how much each counts."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from math import inf
from pathlib import Path
from typing import Any

from fakd.data import DataError
from fakd.data.class_map import Groups, read_class_map
from fakd.data.class_names import Classes, class_order
from fakd.data.user.class_text import read_class_names
from fakd.models import Ensemble, Scorer
from fakd.models.merged_teacher import MergedTeacher
from fakd.options import EachPath, Factors


def teacher_names(teacher: str | Path | Sequence[str]) -> tuple[str, ...]:
    """The names of the teachers that an option, or a run's config.yaml, speaks of.

    Example:
        >>> teacher_names("runs/teacher"), teacher_names(["runs/a", "mmseg:b"])
        (('runs/teacher',), ('runs/a', 'mmseg:b'))
    """
    return (str(teacher),) if isinstance(teacher, str | Path) else tuple(map(str, teacher))


def teacher_title(teacher: str | Path | Sequence[str]) -> str:
    """What messages and tables call them: the name, or all names with a plus in between."""
    return " + ".join(teacher_names(teacher))


def as_given(teacher: str | Path | Sequence[str]) -> str | list[str]:
    """Teachers as a run's options keep them: one as its name, several as a list.

    Raises:
        ValueError: there is none, or one is named twice.
    """
    names = teacher_names(teacher)
    if not names or "" in names:
        raise ValueError(f"teacher must be one or more names of networks, got {teacher!r}.")
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise ValueError(
            f"teacher {', '.join(twice)} is named twice: name it once, and give it more of the "
            "--teacher-weights if it is to count for more."
        )
    return names[0] if len(names) == 1 else list(names)


@dataclass(kw_only=True)
class TeacherClassesConfig:
    """What a teacher's classes are to a student that has others, and how much each of several teachers counts."""

    class_map: EachPath | None = None
    """YAML file for a teacher that was trained on other classes: each line one of its classes and the student's class
    that it belongs to, as "rider: person", or null to drop it. With several teachers, once for each in their order, and
    none for those that have the student's classes."""
    teacher_classes: EachPath | None = None
    """File with the names of the teacher's classes, one a line, where the teacher does not bring them; with several
    teachers, once for each in their order, and none for those that bring them."""
    teacher_weights: Factors | None = None
    """How much the probabilities of each of several teachers count, as 2,1; all the same by default."""

    def check_teacher_classes(self, teachers: int) -> None:
        """Make the paths paths, one for each teacher where there are several.

        Args:
            teachers: how many there are.

        Raises:
            ValueError: there are not as many of an option as teachers, or a weight is not above 0.
        """
        for name in ("class_map", "teacher_classes"):
            setattr(self, name, _one_each(name, getattr(self, name), teachers))
        if self.teacher_weights is None:
            return
        self.teacher_weights = tuple(map(float, self.teacher_weights))
        if teachers == 1:
            raise ValueError("teacher_weights are for several teachers, and there is one: leave them out.")
        if len(self.teacher_weights) != teachers or not all(0 < weight < inf for weight in self.teacher_weights):
            got = ",".join(f"{weight:g}" for weight in self.teacher_weights)
            raise ValueError(
                f"teacher_weights must be {teachers} numbers above 0, one for each teacher, as --teacher-weights "
                f"{','.join('2' + '1' * (teachers - 1))}, got {got}."
            )

    def mapped(self, place: int) -> bool:
        """Whether a class map says what the classes of a teacher are, by its place among several."""
        return _of(self.class_map, place) is not None

    def class_groups(
        self, network: str, theirs: Classes, other: str, ours: Classes, *, place: int = 0, advice: str = ""
    ) -> Groups | None:
        """Return which of a teacher's classes belong to each of the student's.

        Args:
            network: the teacher's name, for messages.
            theirs: its classes.
            other: what the student's classes are of, for messages.
            ours: the student's classes.
            place: of the teacher among several.
            advice: what to do where they do not fit, as sentences.

        Returns:
            For each of the student's classes the indices of the teacher's; None where both have the same.

        Raises:
            FileNotFoundError: there is no such file.
            ValueError: the map, or without one the teacher, does not fit the classes.
        """
        if (file := _of(self.teacher_classes, place)) is not None:
            theirs = replace(theirs, names=read_class_names(file))
        if theirs.names is not None and len(theirs.names) != theirs.count:
            raise DataError(f"{file} has {len(theirs.names)} names of classes, but {network} scores {theirs.count}.")
        if (file := _of(self.class_map, place)) is not None:
            names = ours.names or tuple(f"class {index}" for index in range(ours.count))
            return read_class_map(file, names, theirs.names, theirs.count)
        order = class_order(network, theirs, other, ours, advice)
        return None if order is None else tuple((index,) for index in order)


def _one_each(name: str, given: Any, teachers: int) -> Any:
    """The paths of an option, as many as teachers; nothing where none of them has any."""
    paths = [given] if given is None or isinstance(given, str | Path) else list(given)
    paths = [None if path is None else Path(path) for path in paths]
    if not any(paths):
        return None
    if len(paths) != teachers:
        option = f"--{name.replace('_', '-')}"
        raise ValueError(
            f"there are {teachers} teachers, and {len(paths)} of {option}: give it once for each in their order, and "
            f"{option} none for those that need none."
        )
    return paths[0] if teachers == 1 else paths


def _of(paths: Path | Sequence[Path | None] | None, place: int) -> Path | None:
    return paths if paths is None or isinstance(paths, Path) else paths[place]


def as_one(
    names: Sequence[str],
    opened: Sequence[tuple[Scorer, Mapping[str, str]]],
    options: TeacherClassesConfig,
    other: str,
    ours: Classes,
    advice: str = "",
) -> Scorer:
    """Bring opened networks to the same classes, and join them where they are several.

    Args:
        names: of the networks, for messages.
        opened: the networks, as `fakd.models.open_any` gives them.
        options: maps of their classes, and weights.
        other: what the classes are of, for messages.
        ours: the classes.
        advice: what to do where they do not fit, as sentences.

    Raises:
        ValueError: a network has other classes, and no map says what they are.
    """
    options.check_teacher_classes(len(names))
    fitted: list[Scorer] = []
    for place, (name, (network, notes)) in enumerate(zip(names, opened, strict=True)):
        theirs = Classes.of_network(network.num_classes, notes)
        groups = options.class_groups(name, theirs, other, ours, place=place, advice=advice)
        fitted.append(network if groups is None else MergedTeacher(network, groups))
    return fitted[0] if len(fitted) == 1 else Ensemble(fitted, options.teacher_weights)
