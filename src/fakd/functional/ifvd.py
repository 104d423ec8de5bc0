"""How pixels vary within their class (IFVD)."""

import torch
import torch.nn.functional as F
from torch import Tensor

from fakd.functional.inputs import check_features, check_labels, full_precision, labelled, pixel_classes


def intra_class_kd(student_features: Tensor, teacher_features: Tensor, labels: Tensor, *, num_classes: int) -> Tensor:
    """Pull how far each of the student's pixels is from its class centre toward how far the teacher's is.

        1 / N * sum_i ( cos(s_i, mean of s over the class of i) - cos(t_i, mean of t over the class of i) )^2

    The sum is over the N labelled pixels of the batch, the means over the pixels of the same image and class.

    Args:
        student_features: (B, A, h, w), s.
        teacher_features: (B, A', h, w), t; each network is compared with itself, so A' may differ from A. No
            gradient flows into them.
        labels: (B, h, w) integers 0..C-1, 255 = ignore: such a pixel neither counts nor moves a centre.
        num_classes: C.

    Returns:
        A scalar in [0, 4], 0 when both maps of cosines agree or every pixel is ignored. float32 (float64 for float64
        input), also under autocast.

    Raises:
        ValueError: the shapes do not fit together, or, on the CPU, a label is out of range; elsewhere it counts as
            ignored.

    Fidelity: the paper speaks of all pixels with the same label; its code takes the centres of each image by itself,
    as here. Normaliser: the labelled pixels. In the authors' code an ignored pixel is its own centre, so that it adds
    0 to the sum and 1 to N. A pixel alone in its class has cosine 1 in both networks, and teaches nothing.

    Memory: O(B h w (A + A') + B C (A + A')), no loop over classes.

    Source: Wang et al., ECCV 2020 (IFVD), intra-class feature variation distillation.

    Example:
        >>> import torch
        >>> features, labels = torch.rand(2, 8, 4, 4), torch.randint(3, (2, 4, 4))
        >>> intra_class_kd(features, 2 * features, labels, num_classes=3).item() < 1e-10
        True
    """
    check_features(student_features, teacher_features)
    student_variation = intra_class_variation(student_features, labels, num_classes)
    with torch.no_grad():
        teacher_variation = intra_class_variation(teacher_features, labels, num_classes)
    count = labelled(labels, num_classes).sum().clamp_min(1)
    return (student_variation - teacher_variation).square().sum() / count


def intra_class_variation(features: Tensor, labels: Tensor, num_classes: int) -> Tensor:
    """Cosine between each pixel's features and the mean of its class in the same image.

    Args:
        features: (B, A, h, w).
        labels: (B, h, w) integers 0..C-1, 255 = ignore.
        num_classes: C.

    Returns:
        (B, h, w) in [-1, 1], differentiable in the pixel and in its centre; 0 at ignored pixels and where either has
        no length.

    Raises:
        ValueError: the shapes do not fit together, or, on the CPU, a label is out of range; elsewhere it counts as
            ignored.

    Source: Wang et al., ECCV 2020 (IFVD), intra-class feature variation distillation.

    Example:
        >>> import torch
        >>> features = torch.tensor([[1.0, 0.0, 5.0], [0.0, 1.0, 5.0]]).view(1, 2, 1, 3)
        >>> intra_class_variation(features, torch.tensor([[[0, 0, 255]]]), num_classes=1).flatten()
        tensor([0.7071, 0.7071, 0.0000])
    """
    check_labels(labels, features, num_classes)
    batch, channels, height, width = features.shape
    # One row per image and class, and one more per image for the pixels of no class: nothing is selected by a mask.
    first_rows = (num_classes + 1) * torch.arange(batch, device=labels.device).view(-1, 1, 1)
    rows = (pixel_classes(labels, num_classes) + first_rows).flatten()
    vectors = full_precision(features).permute(0, 2, 3, 1).flatten(0, 2)
    # The sum over a class points where its mean does, which is all that a cosine sees.
    sums = vectors.new_zeros(batch * (num_classes + 1), channels).index_add(0, rows, vectors)
    centres = F.embedding(rows, sums / _lengths(sums))
    cosines = (vectors * centres).sum(1, keepdim=True) / _lengths(vectors)
    return cosines.view(batch, height, width) * labelled(labels, num_classes)


def _lengths(vectors: Tensor) -> Tensor:
    """L2 norms of the rows, (N, 1); 1 for a row of (almost) zeros, as ReLU leaves, whose gradient would be 1/0."""
    lengths = torch.linalg.vector_norm(vectors, dim=1, keepdim=True)
    return torch.where(lengths > 1e-8, lengths, 1.0)
