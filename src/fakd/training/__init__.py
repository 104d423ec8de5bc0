"""Training and distilling networks."""

from fakd.training.config import DistillConfig, RunConfig, TrainConfig
from fakd.training.run import distill, train

__all__ = ["DistillConfig", "RunConfig", "TrainConfig", "distill", "train"]
