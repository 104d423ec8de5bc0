"""The options of the teacher cache, for every command that distils."""

from dataclasses import dataclass
from pathlib import Path

from fakd.data.logit_codes import TOP8, LogitFormat

CACHEABLE = ("none", "pixel", "cwd", "fakd", "fakd-pixel")
"""The methods that ask a teacher for its logits alone, or for nothing."""


@dataclass(kw_only=True)
class TeacherCacheConfig:
    """Where a teacher's logits are kept from run to run, and how."""

    teacher_cache: Path | None = None
    """Folder that keeps the teacher's logits of every training image, computed once, so that the teacher need not run
    in training; for the methods none, pixel, cwd, fakd and fakd-pixel. Runs share it."""
    teacher_cache_format: LogitFormat = "int8"
    """How they are kept: float16, int8 (half the size) or top8 (the eight best classes of each position; the smallest
    where classes are many)."""

    def check_teacher_cache(self, method: str, classes: int, output: Path) -> None:
        """Refuse what cannot be cached, a cache in a run folder, and a format of no cache.

        Args:
            method: that is taught by it.
            classes: how many the teacher scores.
            output: the run folder.

        Raises:
            ValueError: these do not go together.
        """
        if self.teacher_cache is None:
            if self.teacher_cache_format != TeacherCacheConfig.teacher_cache_format:
                raise ValueError(
                    "teacher_cache_format is for a teacher cache: give --teacher_cache too, or leave it out."
                )
            return
        self.teacher_cache = Path(self.teacher_cache)
        if output.resolve() in (self.teacher_cache.resolve(), *self.teacher_cache.resolve().parents):
            raise ValueError(f"teacher_cache {self.teacher_cache} lies in the run folder {output}: choose another.")
        if self.teacher_cache_format == "top8" and classes <= TOP8:
            raise ValueError(f"teacher_cache_format top8 is for more than 8 classes, got {classes}: choose int8.")
        if method not in CACHEABLE:
            raise ValueError(
                f"method {method!r} learns from the teacher's features, and a teacher cache keeps its logits only: "
                f"leave out --teacher_cache, or choose one of the methods {', '.join(CACHEABLE)}."
            )
