"""One pass over a split."""

from collections.abc import Callable, Iterable

import torch
from torch import Tensor, nn

from fakd.data import Sample
from fakd.evaluation.inference import WHOLE, Inference, predict_logits
from fakd.evaluation.scores import confusion_matrix


def evaluate_model(
    model: nn.Module,
    batches: Iterable[Sample],
    num_classes: int,
    *,
    device: torch.device | str = "cpu",
    inference: Inference = WHOLE,
    on_image: Callable[[int], None] | None = None,
) -> Tensor:
    """Count truth against prediction over a split, each image at its label's own size.

    Args:
        model: gives a `SegmentationOutput`; it is left in eval mode on `device`.
        batches: of uint8 images and labels, as `SegmentationData.val_dataloader` gives them.
        num_classes: C.
        device: where to compute.
        inference: whole image or windows, flip and scales.
        on_image: called after each batch with the number of its images, to show progress.

    Returns:
        (C, C) int64 count of pixels [truth, prediction] on the CPU; see `scores_from_confusion`.
    """
    model.eval().to(device)
    matrix = confusion_matrix(num_classes).to(device)
    for batch in batches:
        images, labels = batch.image.to(device), batch.label.to(device).long()
        logits = predict_logits(model, images, labels.shape[-2:], inference)
        matrix.update(logits.argmax(1), labels)
        if on_image is not None:
            on_image(len(images))
    counts: Tensor = matrix.compute().cpu()
    return counts
