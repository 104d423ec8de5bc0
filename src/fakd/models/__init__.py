"""Segmentation networks: encoders from timm, decode heads, and files that hold both.

>>> model = create_model("pspnet", backbone="resnet10t", num_classes=3)
>>> model.config.channels
128
"""

from fakd.models.backbones import BACKBONES
from fakd.models.by_name import copy_weights, create_model, open_any, open_model
from fakd.models.ensemble import Ensemble
from fakd.models.foreign import ForeignConfig, ForeignSegmentor
from fakd.models.mmseg.checkpoint import load_mmseg, save_mmseg
from fakd.models.network import Network, Scorer, load_model, save_model
from fakd.models.onnx import OnnxNetwork
from fakd.models.presets import PRESETS
from fakd.models.scoring import ScoringTeacher
from fakd.models.segmentor import HEADS, ModelConfig, Segmentor
from fakd.models.tap import ClassifierTap

__all__ = [
    "BACKBONES",
    "HEADS",
    "PRESETS",
    "ClassifierTap",
    "Ensemble",
    "ForeignConfig",
    "ForeignSegmentor",
    "ModelConfig",
    "Network",
    "OnnxNetwork",
    "Scorer",
    "ScoringTeacher",
    "Segmentor",
    "copy_weights",
    "create_model",
    "load_mmseg",
    "load_model",
    "open_any",
    "open_model",
    "save_mmseg",
    "save_model",
]
