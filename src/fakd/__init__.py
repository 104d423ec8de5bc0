"""Feature-augmented knowledge distillation for semantic segmentation."""

from fakd.methods import FAKD, ChannelKD, FAKDPixel, PixelKD
from fakd.methods.covariance import ClassCovariance
from fakd.models import ClassifierTap, Segmentor, create_model, load_mmseg, load_model, save_mmseg, save_model
from fakd.types import IGNORE_INDEX, SegmentationModel, SegmentationOutput

__version__ = "0.2.0"

__all__ = [
    "FAKD",
    "IGNORE_INDEX",
    "ChannelKD",
    "ClassCovariance",
    "ClassifierTap",
    "FAKDPixel",
    "PixelKD",
    "SegmentationModel",
    "SegmentationOutput",
    "Segmentor",
    "__version__",
    "create_model",
    "load_mmseg",
    "load_model",
    "save_mmseg",
    "save_model",
]
