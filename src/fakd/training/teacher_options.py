"""What every command that distils may be told of its teacher: where its logits are kept; and what cannot teach."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from fakd.data import DatasetSpec, get_dataset
from fakd.data.spec import check_num_classes
from fakd.data.teacher_logits import TOP8, LogitFormat
from fakd.evaluation.ensembles import TeacherClassesConfig, teacher_names, teacher_title
from fakd.methods import METHODS
from fakd.models.foreign.from_torchvision import published
from fakd.models.mmseg.published import find_teacher
from fakd.models.names import NetworkName, names_scorer


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


def check_teachers(
    teacher: str | Sequence[str], output: Path, spec: DatasetSpec, classes: TeacherClassesConfig
) -> None:
    """Refuse teachers that cannot teach, see `check_source`.

    Raises:
        ValueError: one of them would be deleted by its own run, or cannot fit.
    """
    for place, name in enumerate(teacher_names(teacher)):
        check_source(name, "teacher", output, spec, mapped=classes.mapped(place))


def check_method(method: str, teacher: str | Sequence[str]) -> None:
    """Refuse teachers that have no features for a method that learns from them, as far as their names tell.

    Raises:
        ValueError: they have none.
    """
    names = teacher_names(teacher)
    if METHODS[method].needs != "features":
        return
    able = ", ".join(name for name, kind in METHODS.items() if kind.needs == "logits")
    lacking = next((name for name in names if names_scorer(name)), None)
    if len(names) > 1:
        raise ValueError(
            f"method {method!r} learns from a teacher's features, and {len(names)} teachers have none in common "
            f"({teacher_title(teacher)}): name one of them, or choose one of the methods {able}."
        )
    if lacking is not None:
        raise ValueError(
            f"method {method!r} learns from a teacher's features, and {lacking} gives scores alone: name a network "
            f"that gives both, or choose one of the methods {able}."
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
    classes = None
    if asked.kind == "mmseg":
        classes = get_dataset(find_teacher(asked.network).dataset).num_classes
    elif asked.kind == "torchvision" and asked.weights is None:
        classes = len(published(asked.network).meta["categories"])
    if classes is not None and not mapped:
        advice = "A teacher's classes can be merged: see --class-map."
        check_num_classes(source, classes, spec.name, spec.num_classes, advice)
    if any(output.resolve() in (Path(file).resolve(), *Path(file).resolve().parents) for file in asked.files):
        raise ValueError(f"output {output} holds the {option} {source}; choose another --output.")
