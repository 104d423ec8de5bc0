"""What every command that distils may be told of its teacher: where its logits are kept, and what its classes are."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from fakd.data import DatasetSpec, get_dataset
from fakd.data.class_map import Groups, read_class_map, read_class_names
from fakd.data.spec import check_num_classes
from fakd.data.teacher_logits import TOP8, LogitFormat
from fakd.methods import METHODS
from fakd.models.by_name import NetworkName, published_classes
from fakd.models.mmseg.published import find_teacher


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
            raise ValueError("teacher_classes names classes for a class map: give --class-map too, or leave it out.")

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


@dataclass(kw_only=True)
class TeacherCacheConfig:
    """Where a teacher's logits are kept from run to run, and how."""

    teacher_cache: Path | None = None
    """Folder that keeps the teacher's logits of fixed crops of every training image, computed once, so that the teacher
    need not run in training; for methods that learn from its scores alone, such as fakd and cwd. Runs share it."""
    teacher_cache_format: LogitFormat = "int8"
    """How they are kept: float16, int8 (half the size) or top8 (the eight best classes of each position; the smallest
    where classes are many)."""
    teacher_views: int = 8
    """How many crops of each image a run with a teacher cache uses; each pass over the images shows the next, and after
    the last the first again. With more of them crops repeat less, and the cache takes more disk and more time once."""

    def check_teacher_cache(self, method: str, classes: int, output: Path) -> None:
        """Refuse what cannot be cached, a cache in a run folder, no views, and options of a cache without one.

        Args:
            method: that is taught by it.
            classes: how many the teacher scores.
            output: the run folder.

        Raises:
            ValueError: these do not go together.
        """
        if self.teacher_views < 1:
            raise ValueError(f"teacher_views must be 1 or more, got {self.teacher_views}.")
        if self.teacher_cache is None:
            for name in ("teacher_cache_format", "teacher_views"):
                if getattr(self, name) != getattr(TeacherCacheConfig, name):
                    raise ValueError(f"{name} is for a teacher cache: give --teacher-cache too, or leave it out.")
            return
        self.teacher_cache = Path(self.teacher_cache)
        if output.resolve() in (self.teacher_cache.resolve(), *self.teacher_cache.resolve().parents):
            raise ValueError(f"teacher_cache {self.teacher_cache} lies in the run folder {output}: choose another.")
        if self.teacher_cache_format == "top8" and classes <= TOP8:
            raise ValueError(f"teacher_cache_format top8 is for more than 8 classes, got {classes}: choose int8.")
        if METHODS[method].needs == "features":
            cacheable = [name for name, kind in METHODS.items() if kind.needs != "features"]
            raise ValueError(
                f"method {method!r} learns from the teacher's features, and a teacher cache keeps its logits only: "
                f"leave out --teacher-cache, or choose one of the methods {', '.join(cacheable)}."
            )


def check_source(source: str, option: str, output: Path, spec: DatasetSpec, *, mapped: bool) -> None:
    """Refuse a trained network that would be deleted by its own run, or that cannot fit once it is downloaded.

    Args:
        source: as for `fakd.models.open_model`.
        option: which names it, for the error.
        output: the run folder.
        spec: of the data set.
        mapped: whether a class map says what its classes are.

    Raises:
        ValueError: it is one of these.
    """
    asked = NetworkName.parse(source)
    known = get_dataset(find_teacher(asked.network).dataset).num_classes if asked.kind == "mmseg" else None
    if not mapped and (classes := known or published_classes(source)) is not None:
        advice = "A teacher's classes can be merged: see --class-map."
        check_num_classes(source, classes, spec.name, spec.num_classes, advice)
    if any(output.resolve() in (Path(file).resolve(), *Path(file).resolve().parents) for file in asked.files):
        raise ValueError(f"output {output} holds the {option} {source}; choose another --output.")
