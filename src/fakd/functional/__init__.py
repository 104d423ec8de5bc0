"""The maths of distillation as stateless functions on tensors; one formula each."""

from fakd.functional.augmented_channel import augmented_channel_kd
from fakd.functional.augmented_pixel import augmented_pixel_kd
from fakd.functional.cross_entropy import cross_entropy
from fakd.functional.kd import channel_kd, pixel_kd
from fakd.functional.moments import class_moments, merge_moments
from fakd.functional.resize import resize_labels, resize_logits

__all__ = [
    "augmented_channel_kd",
    "augmented_pixel_kd",
    "channel_kd",
    "class_moments",
    "cross_entropy",
    "merge_moments",
    "pixel_kd",
    "resize_labels",
    "resize_logits",
]
