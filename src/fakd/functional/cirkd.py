"""CIRKD's two relations of pixels across images: to the pixels of the mini-batch, and to a memory."""

import torch.nn.functional as F
from torch import Tensor

from fakd.functional.inputs import check_features, check_labels, full_precision
from fakd.functional.kernels import CHUNK, similarity_kd
from fakd.types import IGNORE_INDEX


def cross_image_kd(
    student_features: Tensor,
    teacher_features: Tensor,
    *,
    temperature: float = 0.1,
    rows: Tensor | None = None,
    chunk: int = CHUNK,
) -> Tensor:
    """Pull which pixels of every image a student's pixel is like toward which ones the teacher's pixel is like.

        S_ij = F_i F_j^T,  F_i the (M, A) unit-length features of image i
        1 / B^2 * sum_{i,j} 1 / M * sum_a KL( softmax(S^t_ij[a, :] / tau) || softmax(S^s_ij[a, :] / tau) )

    over all ordered pairs of images, each with itself too.

    Args:
        student_features: (B, A, h, w). Gradient flows into them, as anchors and as what anchors are compared with.
        teacher_features: (B, A', h, w), of any number of channels; never differentiated.
        temperature: tau > 0, divides the cosines before the softmax.
        rows: (N,) integers below B * M, the pixels to be anchors (image after image, row by row); None for all. If
            they are drawn uniformly, the value and its gradient are in expectation those of all pixels.
        chunk: how many of one network's similarities are held at once.

    Returns:
        A scalar >= 0 in nats, 0 when both find the same similarities. float32 (float64 for float64 input), also under
        autocast.

    Raises:
        ValueError: the shapes do not fit or the temperature is not above 0.

    Normaliser: the mean over pairs of images and anchors, ignored pixels included, as in the authors' code.

    Fidelity: the authors' code loops over the pairs and keeps every similarity for the backward pass. It can
    average-pool the features 2x2 first, which their training scripts leave off; pool the maps before the call for that.
    Pairs lie within one process there and here.

    Memory: O(B M A + chunk) for any B, time O(N B M (A + A')).

    Source: Yang et al., CVPR 2022 (CIRKD), mini-batch-based pixel-to-pixel distillation.

    Example:
        >>> import torch
        >>> features = torch.randn(2, 4, 3, 3)
        >>> cross_image_kd(features, 7 * features).item() < 1e-6
        True
    """
    check_features(student_features, teacher_features)
    student, teacher = unit_vectors(student_features), unit_vectors(teacher_features.detach())
    anchors = (student.flatten(0, 1), teacher.flatten(0, 1))
    if rows is not None:
        anchors = (anchors[0].index_select(0, rows), anchors[1].index_select(0, rows))
    return similarity_kd(*anchors, student, teacher, temperature=temperature, chunk=chunk)


def memory_kd(
    student_features: Tensor,
    teacher_features: Tensor,
    labels: Tensor,
    memory: Tensor,
    valid: Tensor,
    *,
    temperature: float = 0.1,
    rows: Tensor | None = None,
    chunk: int = CHUNK,
) -> Tensor:
    """Pull which remembered vectors a student's pixel is like toward which ones the teacher's pixel is like.

        1 / N * sum_n KL( softmax_k(t_n . v_k / tau) || softmax_k(s_n . v_k / tau) )

    over the N pixels that are not ignored, with features of unit length, and vectors v_k from earlier images.

    Args:
        student_features: (B, A, h, w), projected to the teacher's channels. Gradient flows into them.
        teacher_features: (B, A, h, w); never differentiated.
        labels: (B, h, w) integers, 255 = no anchor.
        memory: (K, A) unit-length vectors v_k in the teacher's feature space, pixels or regions; never differentiated.
        valid: (K,) bool, the vectors that exist.
        temperature: tau > 0, divides the cosines before the softmax.
        rows: (N,) integers below B * h * w, the pixels to be anchors where not ignored; None for all.
        chunk: how many of one network's similarities are held at once.

    Returns:
        A scalar >= 0 in nats, 0 when both find the same similarities, when every pixel is ignored, or when fewer than
        two vectors exist. float32 (float64 for float64 input), also under autocast.

    Raises:
        ValueError: shapes or types do not fit or the temperature is not above 0.

    Normaliser: the mean over the anchors, as in the authors' code (batchmean).

    Memory: O(B h w A + K A + chunk).

    Source: Yang et al., CVPR 2022 (CIRKD), memory-based distillation, pixel-to-pixel and pixel-to-region.

    Example:
        >>> import torch
        >>> features, labels = torch.randn(2, 4, 3, 3), torch.zeros(2, 3, 3, dtype=torch.long)
        >>> memory = torch.nn.functional.normalize(torch.randn(9, 4), dim=1)
        >>> memory_kd(features, features, labels, memory, torch.ones(9, dtype=torch.bool)).item()
        0.0
    """
    check_features(student_features, teacher_features, same_channels=True)  # both meet the teacher's memory
    check_labels(labels, student_features, None, "student_features")
    student, teacher = (_vectors(maps).flatten(0, 1) for maps in (student_features, teacher_features.detach()))
    counted = labels.flatten() != IGNORE_INDEX
    if rows is not None:
        student, teacher, counted = (values.index_select(0, rows) for values in (student, teacher, counted))
    memory = memory.detach().to(student.dtype).unsqueeze(0)
    return similarity_kd(
        _normalised(student),
        _normalised(teacher),
        memory,
        memory,
        temperature=temperature,
        counted=counted,
        valid=valid.unsqueeze(0),
        chunk=chunk,
    )


def unit_vectors(features: Tensor) -> Tensor:
    """Feature maps (B, A, h, w) as vectors (B, M, A) of length 1, in float32 at least.

    A vector shorter than 1e-6 is divided by 1e-6 instead of its length: the gradient at a position where every channel
    is 0 stays within bounds.
    """
    return _normalised(_vectors(features)).contiguous()


def _vectors(features: Tensor) -> Tensor:
    return full_precision(features).flatten(2).transpose(1, 2)


def _normalised(vectors: Tensor) -> Tensor:
    return F.normalize(vectors, dim=-1, eps=1e-6)
