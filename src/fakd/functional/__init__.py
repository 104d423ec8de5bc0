"""The maths of distillation as stateless functions on tensors; one formula each."""

from fakd.functional.at import attention_kd
from fakd.functional.cirkd import cross_image_kd, memory_kd
from fakd.functional.cross_entropy import cross_entropy
from fakd.functional.cwd import channel_kd
from fakd.functional.fakd import augmented_channel_kd, augmented_pixel_kd, logit_offsets
from fakd.functional.fitnet import hint_kd
from fakd.functional.ifvd import intra_class_kd
from fakd.functional.maps import (
    mean_log_probability,
    merge_logits,
    resize_labels,
    resize_logits,
    teacher_classes,
    unfold_features,
)
from fakd.functional.masks import mask_scores
from fakd.functional.moments import class_moments, merge_moments
from fakd.functional.pixel import pixel_kd
from fakd.functional.skds import pairwise_affinity

__all__ = [
    "attention_kd",
    "augmented_channel_kd",
    "augmented_pixel_kd",
    "channel_kd",
    "class_moments",
    "cross_entropy",
    "cross_image_kd",
    "hint_kd",
    "intra_class_kd",
    "logit_offsets",
    "mask_scores",
    "mean_log_probability",
    "memory_kd",
    "merge_logits",
    "merge_moments",
    "pairwise_affinity",
    "pixel_kd",
    "resize_labels",
    "resize_logits",
    "teacher_classes",
    "unfold_features",
]
