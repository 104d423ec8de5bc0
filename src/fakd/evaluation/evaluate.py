"""One pass over a split: of which data set, and what comes out."""

from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Protocol

import torch
from torch import Tensor, nn

from fakd.data import Sample, get_dataset, meant_dataset
from fakd.data.bands import Bands, BandsConfig
from fakd.data.batches import SegmentationData
from fakd.data.user.folder import FOLDER
from fakd.evaluation.inference import WHOLE, Inference, predict_logits
from fakd.evaluation.predictor import base_size_in
from fakd.evaluation.scores import ConfusionMatrix


def evaluate_model(
    model: nn.Module,
    batches: Iterable[Sample],
    num_classes: int,
    *,
    device: torch.device | str = "cpu",
    inference: Inference = WHOLE,
    name: str = "the network",
    on_image: Callable[[int], None] | None = None,
) -> Tensor:
    """Count truth against prediction over a split, each image at its label's own size.

    Args:
        model: gives a `SegmentationOutput`; it is left in eval mode on `device`.
        batches: of uint8 images and labels, as `SegmentationData.val_dataloader` gives them.
        num_classes: C.
        device: where to compute.
        inference: whole image or windows, flip and scales.
        name: how the network is called in errors.
        on_image: called after each batch with the number of its images, to show progress.

    Returns:
        (C, C) int64 count of pixels [truth, prediction] on the CPU; see `scores_from_confusion`.

    Raises:
        ValueError: a score is infinite or NaN.
    """
    model.eval().to(device)
    matrix = ConfusionMatrix(num_classes, device)
    finite = torch.ones((), dtype=torch.bool, device=device)
    for batch in batches:
        images, labels = batch.image.to(device), batch.label.to(device).long()
        logits = predict_logits(model, images, labels.shape[-2:], inference)
        finite &= logits.isfinite().all()  # looked at once, as looking makes the host wait
        matrix.update(logits.argmax(1), labels)
        if on_image is not None:
            on_image(len(images))
    if not bool(finite):
        raise ValueError(f"{name} gives scores that are infinite or NaN: it is damaged, or its training diverged.")
    return matrix.compute().cpu()


class DataOptions(Protocol):
    """What of a command's options says which data set is read, and how."""

    dataset: str | None
    data_root: Path | None
    base_size: tuple[int, int] | None
    workers: int


def validation_data(network: str, notes: Mapping[str, str], options: DataOptions) -> SegmentationData:
    """Find the data set that a network is to be scored on: the one that is named, or that it was trained on.

    No file is opened: `source("val").check()` does, once all else is known to fit.

    Args:
        network: its name, for errors.
        notes: what its file says.
        options: of the command.

    Raises:
        ValueError: no data set is named.
        DataError: the data set is not as it should be.
    """
    name = meant_dataset(options.dataset, options.data_root, notes.get("dataset"))
    if name is None:
        raise ValueError(f"{network} does not say what it was trained on: name the data set with --dataset.")
    base_size = options.base_size or base_size_in(notes, network)
    bands = Bands.of_notes(notes, network) if name == FOLDER else None
    if isinstance(options, BandsConfig):
        bands = options.chosen_bands(bands)
    spec = get_dataset(name, options.data_root, bands, base_size)
    if spec.needs_root and options.data_root is None:
        raise ValueError(f"dataset {name!r} is read from disk: say where it is with --data-root FOLDER.")
    data = SegmentationData(spec, options.data_root, base_size=base_size, workers=options.workers)
    data.source("val")
    return data
