"""Networks of torchvision, segmentation_models_pytorch and Hugging Face's transformers, as teachers and students."""

from fakd.models.foreign.config import ForeignConfig
from fakd.models.foreign.segmentor import ForeignSegmentor

__all__ = ["ForeignConfig", "ForeignSegmentor"]
