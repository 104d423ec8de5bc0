"""Networks of torchvision, segmentation_models_pytorch and Hugging Face's transformers, as teachers and students."""

from fakd.models.foreign.config import ForeignConfig
from fakd.models.foreign.network import LIBRARIES
from fakd.models.foreign.opened import create_foreign, open_foreign, scores_alone
from fakd.models.foreign.scorer import ForeignScorer
from fakd.models.foreign.segmentor import ForeignSegmentor

__all__ = [
    "LIBRARIES",
    "ForeignConfig",
    "ForeignScorer",
    "ForeignSegmentor",
    "create_foreign",
    "open_foreign",
    "scores_alone",
]
