"""From a model and a data set to the numbers that papers print, and to pictures of what it sees."""

from fakd.evaluation.evaluate import evaluate_model
from fakd.evaluation.inference import Inference, predict_logits, to_float_images
from fakd.evaluation.scores import ConfusionMatrix, Scores, chance_miou, scores_from_confusion

__all__ = [
    "ConfusionMatrix",
    "Inference",
    "Scores",
    "chance_miou",
    "evaluate_model",
    "predict_logits",
    "scores_from_confusion",
    "to_float_images",
]
