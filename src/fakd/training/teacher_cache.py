"""The teacher cache: the teacher's logits, kept from run to run."""

import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from math import ceil
from pathlib import Path
from typing import Any

import torch
from filelock import FileLock, Timeout
from rich.filesize import decimal
from torch import Tensor, nn

from fakd.console import is_main_process, progress, say
from fakd.data.batches import SegmentationData
from fakd.data.paired_files import image_identity, image_size
from fakd.data.spec import Source
from fakd.data.teacher_logits import LogitStore, coded_bytes, load_checked, save_checked
from fakd.data.transforms import fitted_size
from fakd.evaluation import to_float_images
from fakd.files.checksum import digest
from fakd.training.config import DistillConfig
from fakd.training.teacher import Teacher

_VERSION = 1
_HEADER = 512
"""Bytes of a map's file beside its codes, about."""
_BLOCK = 4096
"""What file systems allot at a time."""
_SPARE = 64 << 20
"""Bytes that stay free, so that a full disk does not stop everything else."""


class TeacherCache:
    """What is known of a teacher on a data set, in a folder that any number of runs may use at the same time.

    The folder of the maps is named by the data set, the size that images are fitted into, the format, and a digest of
    these, the teacher's architecture and its weights. Each file in it says of which image it is.

    Args:
        root: the folder that a user named.
        config: of a run.
        data: its data.
        teacher: whose logits they are.
    """

    def __init__(self, root: Path, config: DistillConfig, data: SegmentationData, teacher: Teacher) -> None:
        base_size, form = data.eval_transform.base_size, config.teacher_cache_format
        self.config, self.data, self.teacher = config, data, teacher
        self.key = digest([str(_VERSION), teacher.digest, data.spec.name, "train", str(base_size), form])
        size = "x".join(map(str, base_size))
        self.root = root
        self.folder = root / f"{data.spec.name}-train-{size}-{form}-{self.key[:12]}"

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

    def complete(self, device: torch.device, on_image: Callable[[], None]) -> LogitStore:
        """Verify every map, and compute those that are missing, damaged or of images that changed since.

        Args:
            device: where to compute.
            on_image: called for each image; what it raises ends the work, and what was computed is kept.

        Raises:
            ValueError: the teacher's logits cannot be kept.
            OSError: the folder cannot be written to, or the disk has not enough room.
        """
        source, teacher = self.data.source("train"), self.teacher.network
        labels = _labels(self.key, source)
        teacher.eval().to(device)
        store = LogitStore(
            self.folder, labels, teacher.num_classes, _stride(teacher, device), self.config.teacher_cache_format
        )
        # Before the lock too: a folder that other people keep may be read-only.
        if wrong := self._wrong(store, range(len(store)), on_image):
            self.folder.mkdir(parents=True, exist_ok=True)
            with _alone(self.folder):
                if wrong := self._wrong(store, wrong, on_image):
                    self._fill(store, wrong, device, on_image)
        teacher.to("cpu")  # which leaves the student more memory
        say(f"cache     {self.folder}: the teacher's logits of {len(source)} images and their mirror images")
        return store

    def _wrong(self, store: LogitStore, numbers: Sequence[int], on_image: Callable[[], None]) -> list[int]:
        with progress("maps") as bar:
            task = bar.add_task("verifying the teacher cache", total=len(numbers), note="")
            wrong = []
            for number in numbers:
                if not store.is_right(number):
                    wrong.append(number)
                on_image()
                bar.advance(task)
        return wrong

    def _fill(self, store: LogitStore, wrong: list[int], device: torch.device, on_image: Callable[[], None]) -> None:
        for left in self.folder.glob(".*.tmp"):  # by a process that was killed
            left.unlink()
        if spoilt := sum(store.path(number).exists() for number in wrong):
            say(f"cache     {spoilt} of {len(store)} maps are damaged, or of images that changed since", style="yellow")
        indices = sorted({number // 2 for number in wrong})
        room = decimal(self._room(store, indices))
        say(f"cache     computing the teacher's logits of {len(indices)} images: {room} in {self.folder}")
        with progress("images") as bar:
            task = bar.add_task("filling the teacher cache", total=len(indices), note="")
            for index, sample in zip(indices, self.data.whole_images(indices), strict=True):
                logits = _both_logits(self.teacher.network, sample.image, device)
                for number in (2 * index, 2 * index + 1):
                    store.write(number, logits[number % 2], sample.image.shape[-2:])
                on_image()
                bar.advance(task)

    def _room(self, store: LogitStore, indices: list[int]) -> int:
        """Bytes that the maps of these images will take on the disk.

        Raises:
            OSError: there are not as many.
        """
        source, base_size = self.data.source("train"), self.data.eval_transform.base_size
        needed = 0
        for index in indices:
            height, width = (ceil(side / store.stride) for side in fitted_size(image_size(source, index), base_size))
            each = coded_bytes(store.form, store.classes, height, width) + _HEADER
            needed += 2 * ceil(each / _BLOCK) * _BLOCK
        free = shutil.disk_usage(self.folder).free - _SPARE
        if needed > free:
            raise OSError(
                f"the teacher cache needs {decimal(needed)} in {self.folder}, where {decimal(max(0, free))} are free: "
                "make room, choose another --teacher-cache, or a smaller --teacher-cache-format."
            )
        return needed


def _labels(key: str, source: Source) -> list[str]:
    """What each map must say it is."""
    identities = [image_identity(source, index) for index in range(len(source))]
    return [digest([key, identity, side]) for identity in identities for side in ("plain", "mirrored")]


@torch.no_grad()
def _both_logits(teacher: nn.Module, image: Tensor, device: torch.device) -> Tensor:
    """(2, C, h, w) logits of a (1, 3, H, W) image and of its mirror image, on the CPU."""
    images = to_float_images(image.to(device))
    logits: Tensor = teacher(torch.cat([images, images.flip(-1)])).logits
    return logits.float().cpu()


@torch.no_grad()
def _stride(teacher: nn.Module, device: torch.device) -> int:
    """Image pixels per cell of the logits."""
    side = 64  # what every stride divides
    return side // int(teacher(torch.zeros(1, 3, side, side, device=device)).logits.shape[-1])


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
