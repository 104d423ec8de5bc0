"""Training and distilling networks."""

from fakd.training import quick_start  # noqa: F401  # before anything imports lightning-fabric
from fakd.training.config import RunConfig, TrainConfig
from fakd.training.distill_config import DistillConfig
from fakd.training.run import distill, train

__all__ = ["DistillConfig", "RunConfig", "TrainConfig", "distill", "train"]
