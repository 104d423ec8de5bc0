"""How weights are moved: the options of optimizer and learning rate."""

from dataclasses import dataclass
from typing import Literal

from timm.optim import list_optimizers  # type: ignore[attr-defined]

from fakd.console import did_you_mean
from fakd.options import UNSAID, ByRecipe


@dataclass(kw_only=True)
class OptimizerConfig:
    """What a step does with the gradient of the loss."""

    optimizer: ByRecipe[str] = UNSAID
    """sgd, adamw, or another one of timm's; by default the recipe's."""
    learning_rate: ByRecipe[float] = UNSAID
    """Highest learning rate; by default the recipe's, or with another optimizer 1e-4, sgd the data set's."""
    schedule: ByRecipe[Literal["poly", "cosine", "constant"]] = UNSAID
    """How the learning rate falls to a hundredth, after the warm-up: poly, by (1 - t/T)^power; cosine, by half a wave;
    or constant, not at all. By default the recipe's."""
    poly_power: ByRecipe[float] = UNSAID
    """Power of --schedule poly; by default the recipe's."""
    warmup_steps: ByRecipe[int] = UNSAID
    """Steps over which the learning rate rises from 0 at first; by default the recipe's, at most a tenth of the run."""
    backbone_lr_factor: ByRecipe[float] = UNSAID
    """Learning rate of the student's encoder as a share of that of its heads; by default the recipe's."""
    freeze_backbone: bool = False
    """Whether the heads alone learn, while the encoder keeps its weights and batch statistics; it needs some to start
    from, by --backbone-weights or --init."""
    layer_decay: float = 1.0
    """Learning rate of each layer of the encoder as a share of that of the layer behind it; 1 is the same for all."""
    momentum: float = 0.9
    """Momentum of SGD, and of other optimizers that have one."""
    weight_decay: ByRecipe[float] = UNSAID
    """Decay of weights: with sgd an L2 penalty on all parameters, with others on all but biases and those of norms; by
    default the recipe's. With another optimizer than the recipe's, sgd has 5e-4, the others 0.01."""
    clip_grad: float = 0.0
    """Largest norm of the gradient of all parameters together, beyond which it is shortened to it; 0 is any."""
    accumulate: int = 1
    """Parts that a step's crops are taken in, one after the other, where memory does not hold them all: their mean
    gradient is what the step takes. Batch normalisation sees one part at a time."""
    ema: float = 0.0
    """Mean of the weights over the steps, evaluated and saved in their place: how much of the mean each step keeps, as
    0.999; less at first. 0 takes the weights themselves."""

    def check_optimizer(self, max_steps: int) -> None:
        """Refuse what cannot be; all options are resolved.

        Raises:
            ValueError: a value is out of range, or timm has no such optimizer.
        """
        if self.optimizer not in (known := [str(name) for name in list_optimizers()]):
            meant = did_you_mean(str(self.optimizer), known) or f" It has {', '.join(known)}."
            raise ValueError(f"optimizer must be one of timm's, as sgd or adamw, got {self.optimizer!r}.{meant}")
        for name in ("learning_rate", "poly_power", "backbone_lr_factor"):
            if getattr(self, name) <= 0:
                raise ValueError(f"{name} must be above 0, got {getattr(self, name):g}.")
        if not 0 <= self.ema < 1:
            raise ValueError(f"ema must be at least 0 and below 1, got {self.ema:g}.")
        if not 0 < self.layer_decay <= 1:
            raise ValueError(f"layer_decay must be above 0 and at most 1, got {self.layer_decay:g}.")
        if self.schedule not in ("poly", "cosine", "constant"):
            raise ValueError(f"schedule must be poly, cosine or constant, got {self.schedule!r}.")
        if self.warmup_steps and self.warmup_steps >= max_steps:
            raise ValueError(f"warmup_steps must be below the {max_steps} steps of the run, got {self.warmup_steps}.")
