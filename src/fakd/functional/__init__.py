"""The maths of distillation as stateless functions on tensors; one formula each."""

from fakd.functional.attention import attention_kd
from fakd.functional.augmented_channel import augmented_channel_kd
from fakd.functional.augmented_pixel import augmented_pixel_kd
from fakd.functional.contrastive import cross_image_kd, memory_kd
from fakd.functional.cross_entropy import cross_entropy
from fakd.functional.hint import hint_kd
from fakd.functional.intra_class import intra_class_kd
from fakd.functional.kd import channel_kd, pixel_kd
from fakd.functional.merge import merge_logits
from fakd.functional.moments import class_moments, merge_moments
from fakd.functional.pairwise import pairwise_affinity
from fakd.functional.resize import resize_labels, resize_logits
from fakd.functional.unfold import unfold_features

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
    "memory_kd",
    "merge_logits",
    "merge_moments",
    "pairwise_affinity",
    "pixel_kd",
    "resize_labels",
    "resize_logits",
    "unfold_features",
]
