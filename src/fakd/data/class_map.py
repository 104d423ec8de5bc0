"""Which class of a student each class of a teacher belongs to, where they are not the same.

A YAML file, each line a class of the teacher, by its name or its index, and a class of the student, by its name or its
index, or null for one that the student does not have:

    person: human
    rider: human
    7: road
    sky: null

A class of the teacher that no line names goes to the student's class of the same name; where there is none, the file is
refused. So is one that leaves a class of the student without any of the teacher's. Names are compared without regard to
case, spaces, hyphens and underscores.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from fakd.data.class_names import comparable, plain_name
from fakd.data.pairing import listed
from fakd.data.plain_yaml import read_yaml
from fakd.data.spec import DataError

Groups = tuple[tuple[int, ...], ...]
"""For each class of the student, the indices of the teacher's that belong to it."""

_SHOWN = 20


def read_class_map(
    path: Path, student_classes: Sequence[str], teacher_classes: Sequence[str] | None, teacher_count: int
) -> Groups:
    """Read a class map.

    Args:
        path: the file.
        student_classes: the names of the student's classes.
        teacher_classes: the names of the teacher's; None where they are not known, which leaves their indices.
        teacher_count: how many classes the teacher scores.

    Raises:
        FileNotFoundError: there is no such file.
        DataError: it is no such map, or does not fit these classes; the message lists all that is wrong.
    """
    if not path.is_file():
        raise FileNotFoundError(f"no class map at {path}")
    content = read_yaml(path)
    if not isinstance(content, Mapping):
        raise DataError(f"{path}: expected lines as 'person: human', a class of the teacher and one of the student.")
    if teacher_classes is not None and len(teacher_classes) != teacher_count:
        raise DataError(f"there are {len(teacher_classes)} names of classes, but the teacher scores {teacher_count}.")
    plain = comparable(teacher_classes or (), student_classes)
    theirs, ours = ({name: index for index, name in enumerate(names)} for names in plain)
    faults: list[str] = []
    targets: dict[int, int | None] = {}
    for source, target in content.items():
        index = _index(source, theirs, teacher_count)
        goal = None if target is None else _index(target, ours, len(student_classes))
        if index is None:
            known = "" if theirs else " (its names are not known: write their indices, or give --teacher-classes)"
            faults.append(f"the teacher has no class {source!r}{known}")
        elif goal is None and target is not None:
            faults.append(f"the student has no class {target!r}")
        elif index in targets:
            faults.append(f"the teacher's class {source!r} is named twice")
        else:
            targets[index] = goal
    for name, index in theirs.items():
        if name in ours:
            targets.setdefault(index, ours[name])
    if missing := [index for index in range(teacher_count) if index not in targets]:
        names = [str(teacher_classes[index]) if teacher_classes else str(index) for index in missing]
        faults.append(f"nothing is said of the teacher's classes {listed(names, _SHOWN)}: write null for those to drop")
    groups = tuple(
        tuple(index for index in range(teacher_count) if targets.get(index) == goal)
        for goal in range(len(student_classes))
    )
    if empty := [name for name, group in zip(student_classes, groups, strict=True) if not group]:
        faults.append(f"no class of the teacher belongs to the student's {listed(empty, _SHOWN)}")
    if faults:
        raise DataError(f"{path} does not fit teacher and student: {'; '.join(faults)}.")
    return groups


def _index(given: Any, names: Mapping[str, int], count: int) -> int | None:
    """The index of a class that is given by its name or its index; None where there is none."""
    if isinstance(given, int) and not isinstance(given, bool):
        return given if 0 <= given < count else None
    return names.get(given, names.get(plain_name(given))) if isinstance(given, str) else None
