"""Images that nobody labelled: what a command that distils may be told of them, and how they are found."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path
from typing import Annotated

import torch
from cyclopts import Parameter
from torch import Tensor, nn

from fakd.data import DataError, DatasetSpec, Sample
from fakd.data.batches import SegmentationData
from fakd.data.held_out import chosen
from fakd.data.paired_files import PairedFiles
from fakd.data.spec import SPLITS, Source
from fakd.data.unlabelled import UNLABELLED_SET, UnlabelledImages
from fakd.data.user.folder import crop_of
from fakd.evaluation.images import find_sources
from fakd.evaluation.inference import Inference, InferenceConfig, predict_logits
from fakd.evaluation.predictor import open_predictor
from fakd.methods import METHODS
from fakd.types import UNLABELLED

Found = tuple[Path, str]
"""The path of an image, and its name below the folder or list that it was found by."""

_VAL_SHARE = 0.1


@dataclass(kw_only=True)
class UnlabelledConfig:
    """Which images without labels the teacher teaches on too."""

    unlabelled: Annotated[list[str] | None, Parameter(consume_multiple=True)] = None
    """Images without labels to train on too, or alone where no data set is given: folders with all their subfolders,
    images, or .txt lists of images. For methods that ask for logits, as fakd and cwd."""
    unlabelled_batch: int | None = None
    """Crops of them per step, over all devices together; by default as many as batch_size."""
    val_share: float = _VAL_SHARE
    """Where there is no labelled image: the share of the images, by a hash of their names, that is set aside; the
    student is scored on how far it agrees with the teacher there."""

    def resolve_unlabelled(self, dataset: str | None, data_root: Path | None, batch_size: int) -> str | None:
        """Work out the defaults, and whether anything is labelled.

        Args:
            dataset: as it was given.
            data_root: as it was given.
            batch_size: crops of labelled images per step.

        Returns:
            The name of the data set; None where none is meant.

        Raises:
            ValueError: a value is out of range, or given for nothing.
        """
        if isinstance(self.unlabelled, str | Path):
            self.unlabelled = [str(self.unlabelled)]
        self.unlabelled = [str(path) for path in self.unlabelled or ()] or None
        alone = self.unlabelled is not None and (dataset == UNLABELLED_SET or (dataset is None and data_root is None))
        if self.unlabelled is None and self.unlabelled_batch is not None:
            raise ValueError("unlabelled_batch is for images without labels: give --unlabelled too, or leave it out.")
        if not 0 < self.val_share < 1:
            raise ValueError(f"val_share must be above 0 and below 1, got {self.val_share}.")
        if self.val_share != _VAL_SHARE and not alone:
            raise ValueError("val_share is for images without labels alone: a data set has a validation split.")
        if self.unlabelled is not None:
            self.unlabelled_batch = batch_size if self.unlabelled_batch is None else self.unlabelled_batch
            if self.unlabelled_batch < 1:
                raise ValueError(f"unlabelled_batch must be 1 or more, got {self.unlabelled_batch}.")
        return UNLABELLED_SET if alone else dataset

    def check_unlabelled(self, method: str, parts: int, spec: DatasetSpec) -> None:
        """Refuse what cannot learn from images without labels.

        Args:
            method: that is taught by the teacher.
            parts: how many the crops of a step are dealt out to: processes times parts of a step.
            spec: of the data set.

        Raises:
            ValueError: these do not go together.
        """
        if self.unlabelled is None or self.unlabelled_batch is None:
            return
        if METHODS[method].needs != "logits":
            able = ", ".join(name for name, kind in METHODS.items() if kind.needs == "logits")
            wants = "nothing of a teacher" if METHODS[method].needs == "nothing" else "the teacher's features"
            raise ValueError(
                f"method {method!r} asks {wants}, and images without labels are for methods that ask its scores alone: "
                f"leave out --unlabelled, or choose one of {able}."
            )
        if self.unlabelled_batch % parts:
            raise ValueError(
                f"unlabelled_batch {self.unlabelled_batch} does not divide by {parts}, devices times parts of a step."
            )
        if spec.num_classes > UNLABELLED:
            raise ValueError(
                f"{spec.name} has {spec.num_classes} classes, and images without labels are for {UNLABELLED} at most, "
                "as their label is a number too: leave out --unlabelled."
            )

    def open_unlabelled(self, data: SegmentationData) -> None:
        """Have a run train on these images too, if there are any; none of them is one of the data set's own.

        Raises:
            FileNotFoundError: one of those given is not there, or holds no image.
            DataError: they cannot be used, or are too few.
        """
        if self.unlabelled is None or self.unlabelled_batch is None:
            return
        found = find_unlabelled(self.unlabelled, map(data.source, SPLITS))
        if data.spec.name == UNLABELLED_SET:
            found, _ = set_aside(found, self.val_share)
        data.unlabelled, data.unlabelled_batch = UnlabelledImages(found), self.unlabelled_batch


@cache
def teacher_dataset(teacher: str, unlabelled: tuple[str, ...], val_share: float) -> DatasetSpec:
    """Describe a data set of images without labels alone: its classes and sizes are the teacher's.

    Args:
        teacher: as for `fakd.models.open_model`.
        unlabelled: where the images are.
        val_share: how many of them are "val".

    Raises:
        ValueError: the teacher does not say for what size of images it was trained.
    """
    network = open_predictor(teacher, InferenceConfig(), device="cpu")
    base = network.base_size
    if base is None:
        raise ValueError(
            f"the teacher {teacher} does not say what size its images were fitted into: give images of a data set with "
            "--dataset, or a teacher that was saved by fakd."
        )
    return DatasetSpec(
        name=UNLABELLED_SET,
        classes=network.classes,
        palette=tuple(network.palette),
        base_size=base,
        crop_size=crop_of(base),
        open=partial(_open, unlabelled, val_share),
        needs_root=False,
    )


def _open(unlabelled: Sequence[str], val_share: float, root: Path | None, split: str) -> UnlabelledImages:
    """No image is labelled, and those set aside are to validate on."""
    return UnlabelledImages(set_aside(find_unlabelled(unlabelled), val_share)[1] if split == "val" else ())


def set_aside(found: Sequence[Found], share: float) -> tuple[list[Found], list[Found]]:
    """Part images by a hash of their names, so that a new one moves no other; at least one is on either side.

    Returns:
        Those to train on, and those to validate on.

    Raises:
        DataError: there are fewer than two.

    Example:
        >>> images = [(Path(name), name) for name in "abcdefgh"]
        >>> [[name for _, name in part] for part in set_aside(images, 0.3)]
        [['c', 'd', 'e', 'g', 'h'], ['a', 'b', 'f']]
    """
    if len(found) < 2:
        raise DataError(f"{len(found)} image without a label, expected two or more: one at least is set aside.")
    places = chosen([name for _, name in found], share)
    train, val = ([image for place, image in enumerate(found) if (place in places) is aside] for aside in (False, True))
    return train, val


def find_unlabelled(given: Iterable[str], labelled: Iterable[Source] = ()) -> list[Found]:
    """Find the images that are meant, each once.

    Args:
        given: folders, images, and .txt files that list images.
        labelled: whose images, and masks, are left out.

    Raises:
        FileNotFoundError: one of those given is not there, or holds no image.
        DataError: one is a video, or all of them are labelled.
    """
    taken = {
        path.resolve()
        for source in labelled
        if isinstance(source, PairedFiles)
        for pair in source.pairs
        for path in pair
    }
    found: dict[Path, Found] = {}
    for item in map(Path, given):
        for path, name in _listed(item) if item.suffix.lower() == ".txt" else _searched(item):
            found.setdefault(path.resolve(), (path, name))
    kept = [image for path, image in found.items() if path not in taken]
    if not kept:
        raise DataError(f"all {len(found)} images of {', '.join(map(str, given))} are labelled: name others.")
    return kept


def _searched(item: Path) -> list[Found]:
    sources = find_sources([item])
    if video := next((source for source in sources if source.is_video), None):
        raise DataError(f"{video.path} is a video, expected images: extract its frames, and name their folder.")
    return [(source.path, source.place.as_posix()) for source in sources]


def _listed(file: Path) -> list[Found]:
    if not file.is_file():
        raise FileNotFoundError(f"no list of images at {file}.")
    text = file.read_text(encoding="utf-8-sig", errors="surrogateescape")
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    if not lines:
        raise DataError(f"{file}: the list is empty, expected the path of an image on every line.")
    if missing := [line for line in lines if not (file.parent / line).is_file()]:
        raise FileNotFoundError(
            f"{file}: {len(missing)} of {len(lines)} images are not there, as {missing[0]}; expected paths as seen "
            f"from {file.parent}."
        )
    return [(file.parent / line, Path(line).with_suffix("").as_posix()) for line in lines]


@torch.no_grad()
def teacher_masks(
    teacher: nn.Module,
    batches: Iterable[Sample],
    device: torch.device,
    inference: Inference,
    on_image: Callable[[], None],
) -> list[Tensor]:
    """Ask a teacher for the masks of images that nobody labelled.

    Args:
        teacher: gives a `SegmentationOutput`; it is left in eval mode on `device`.
        batches: of one uint8 image each.
        device: where to compute.
        inference: whole image or windows, flip and scales.
        on_image: called after each.

    Returns:
        (h, w) uint8 class indices of each at the size at which networks are shown it, which may be far smaller than the
        photo.
    """
    teacher.eval().to(device)
    masks = []
    for batch in batches:
        images = batch.image.to(device)
        logits = predict_logits(teacher, images, images.shape[-2:], inference)
        masks.append(logits.argmax(1)[0].to("cpu", torch.uint8))
        on_image()
    return masks
