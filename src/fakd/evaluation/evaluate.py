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
    matrix = confusion_matrix(num_classes).to(device)
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
    counts: Tensor = matrix.compute().cpu()
    return counts
