"""Feature-augmented knowledge distillation for semantic segmentation."""

from fakd.covariance import ClassCovariance
from fakd.types import IGNORE_INDEX, SegmentationModel, SegmentationOutput

__version__ = "0.1.0"

__all__ = ["IGNORE_INDEX", "ClassCovariance", "SegmentationModel", "SegmentationOutput", "__version__"]
