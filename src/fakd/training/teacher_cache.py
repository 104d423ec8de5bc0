"""The teacher cache: the teacher's logits, kept from run to run."""

import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from math import ceil
from pathlib import Path
from time import monotonic
from typing import Any

import torch
import torchvision
from filelock import FileLock, Timeout
from rich.filesize import decimal
from torch import Tensor, nn

from fakd.console import is_main_process, progress, say
from fakd.data.batches import SegmentationData
from fakd.data.paired_files import image_identity
from fakd.data.teacher_logits import LogitStore, coded_bytes, load_checked, save_checked
from fakd.data.views import TaughtViews, View
from fakd.evaluation import to_float_images
from fakd.files.checksum import digest
from fakd.training.distill_config import DistillConfig
from fakd.training.teacher import Teacher

_VERSION = 2
_HEADER = 512
"""Bytes of a file beside its codes, about."""
_BLOCK = 4096
"""What file systems allot at a time."""
_SPARE = 64 << 20
"""Bytes that stay free, so that a full disk does not stop everything else."""


class TeacherCache:
    """What is known of a teacher on a data set, in a folder that any number of runs may use at the same time.

    The folder of the logits is named by a digest of the teacher and of all that decides what the crops show: the data
    set, how crops are made, and the libraries that draw and resize them, as a crop is drawn again whenever it is used.
    Each file in it says of which image and view it is. How many views there are is no part of the name: runs that ask
    for more add theirs.

    Args:
        root: the folder that a user named.
        config: of a run.
        data: its data.
        teacher: whose logits they are.
    """

    def __init__(self, root: Path, config: DistillConfig, data: SegmentationData, teacher: Teacher) -> None:
        crops, form = data.train_transform, config.teacher_cache_format
        libraries = [str(torch.__version__), str(torchvision.__version__)]
        self.config, self.data, self.teacher = config, data, teacher
        # Files are by the number of an image, which is another one where some are held out.
        part = f"train-without-{config.holdout:g}" if config.holdout else "train"
        self.key = digest([str(_VERSION), teacher.digest, data.spec.name, part, repr(crops), form, *libraries])
        size = "x".join(map(str, crops.crop_size))
        self.root = root
        self.folder = root / f"{data.spec.name}-{part}-{size}-{form}-{self.key[:12]}"

    def confusion(self, count: Callable[[], Tensor], broadcast: Callable[[Any], Any]) -> Tensor:
        """The teacher's confusion matrix on the validation split.

        Args:
            count: computes it where it is not kept, in all processes together.
            broadcast: gives every process what the first one gave.
        """
        path, label = self._confusion_file()
        # As the first process sees it: where another run writes the file just then, the others may see something else.
        held = broadcast(load_checked(path, label) if is_main_process() else None)
        if held is None:
            held = {"confusion": count()}
            if is_main_process():
                save_checked(path, held, label)
        confusion: Tensor = held["confusion"]
        return confusion

    def _confusion_file(self) -> tuple[Path, str]:
        """Where it is kept, and what the file must say it is."""
        inference = self.config.inference(self.data.spec.window)
        images = self.data.whole_images(range(len(self.data.source("val"))), split="val")
        seen = (part for batch in images for part in (*batch.name, batch.image, batch.label))
        label = digest([str(_VERSION), self.teacher.digest, repr(inference), str(self.data.spec.num_classes), *seen])
        return self.root / f"{self.data.spec.name}-val-{label[:12]}.safetensors", label

    def complete(self, device: torch.device, on_image: Callable[[], None]) -> TaughtViews:
        """Verify all logits that the run needs, and compute what is missing, damaged or of images that changed since.

        Args:
            device: where to compute.
            on_image: called for each crop; what it raises ends the work, and what was computed is kept.

        Returns:
            What to train on: crops with the teacher's logits.

        Raises:
            ValueError: the teacher's logits cannot be kept.
            OSError: the folder cannot be written to, or the disk has not enough room.
        """
        config, source, teacher = self.config, self.data.training_images(), self.teacher.network
        labels = [digest([self.key, image_identity(source, index)]) for index in range(len(source))]
        store = LogitStore(self.folder, labels, teacher.num_classes, config.teacher_cache_format)
        taught = TaughtViews(self.data.views(), store, config.teacher_views, config.seed)
        passes = self.data.passes(config.max_steps)
        needed = taught.needed(passes)
        # Before the lock too: a folder that other people keep may be read-only.
        if wrong := self._wrong(store, needed, on_image):
            self.folder.mkdir(parents=True, exist_ok=True)
            with _alone(self.folder):
                if wrong := self._wrong(store, wrong, on_image):
                    self._fill(store, wrong, device, on_image)
        teacher.to("cpu")  # which leaves the student more memory
        each = " to ".join(map(str, sorted({min(seen, config.teacher_views) for seen in passes})))
        say(f"cache     {self.folder}: the teacher's logits of {each} crops of each of {len(source)} images")
        return taught

    def _wrong(self, store: LogitStore, views: Sequence[View], on_image: Callable[[], None]) -> list[View]:
        with progress("crops") as bar:
            task = bar.add_task("verifying the teacher cache", total=len(views), note="")
            wrong = []
            for view in views:
                if not store.is_right(*view):
                    wrong.append(view)
                on_image()
                bar.advance(task)
        return wrong

    def _fill(self, store: LogitStore, wrong: list[View], device: torch.device, on_image: Callable[[], None]) -> None:
        for half in self.folder.glob(".*.tmp"):  # by a process that was killed
            half.unlink()
        if spoilt := sum(store.path(*view).exists() for view in wrong):
            say(f"cache     {spoilt} files are damaged, or of images that changed since", style="yellow")
        teacher, at_once = self.teacher.network.eval().to(device), self.data.batch_size
        room = decimal(self._room(store, len(wrong), device))
        say(f"cache     asking the teacher about {len(wrong)} crops: {room} in {self.folder}")
        with progress("crops") as bar:
            task = bar.add_task("filling the teacher cache", total=len(wrong), note="")
            begun = monotonic()
            # Full batches: by how many are asked at once, last bits differ, and a build that was stopped is to go on to
            # the same files.
            batches = self.data.some_views(wrong + wrong[-1:] * (-len(wrong) % at_once))
            for start, batch in zip(range(0, len(wrong), at_once), batches, strict=True):
                views = wrong[start : start + at_once]
                for view, logits in zip(views, _logits(teacher, batch.image, device), strict=False):
                    store.write(*view, logits)
                    on_image()
                    bar.advance(task)
                if start == 0:  # in which loaders start and libraries choose their kernels
                    begun = monotonic()
                elif start == at_once and (left := len(wrong) - start - len(views)):
                    say(f"cache     {_about((monotonic() - begun) * left / len(views))} for the other {left} crops")

    def _room(self, store: LogitStore, count: int, device: torch.device) -> int:
        """Bytes that the logits of so many crops will take on the disk.

        Raises:
            OSError: there are not as many.
        """
        teacher, crop = self.teacher.network, self.data.train_transform.crop_size
        blank = torch.zeros(1, teacher.in_channels, *crop, dtype=torch.uint8)
        height, width = _logits(teacher, blank, device).shape[-2:]
        each = coded_bytes(store.form, store.classes, height, width) + _HEADER
        needed = count * ceil(each / _BLOCK) * _BLOCK
        free = shutil.disk_usage(self.folder).free - _SPARE
        if needed > free:
            raise OSError(
                f"the teacher cache needs {decimal(needed)} in {self.folder}, where {decimal(max(0, free))} are free: "
                "make room, choose another --teacher-cache, fewer --teacher-views, or a smaller --teacher-cache-format."
            )
        return needed


@torch.no_grad()
def _logits(teacher: nn.Module, images: Tensor, device: torch.device) -> Tensor:
    """(N, C, h, w) logits of (N, 3, H, W) uint8 images, on the CPU."""
    logits: Tensor = teacher(to_float_images(images.to(device))).logits
    return logits.float().cpu()


def _about(seconds: float) -> str:
    """A time that is not known well.

    Example:
        >>> _about(20), _about(100)
        ('about a minute', 'about 2 minutes')
    """
    return "about a minute" if seconds <= 60 else f"about {ceil(seconds / 60)} minutes"


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """Let one process at a time in; the lock's file stays, as deleting it could let in two."""
    lock = FileLock(folder / ".lock")
    try:
        lock.acquire(timeout=0)
    except Timeout:
        say(f"cache     waiting for another process that is filling {folder}")
        lock.acquire()
    try:
        yield
    finally:
        lock.release()
