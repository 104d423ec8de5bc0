"""The list of losses that every common check runs over, and inputs for them."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from fakd import functional

from . import naive

VECTORS = Path(__file__).resolve().parents[3] / "shared" / "vectors"
NAMES = ("student", "teacher", "labels", "weight", "covariance")


@cache
def load_vectors(name: str) -> dict[str, np.ndarray]:
    if not (VECTORS / name).exists():
        pytest.skip(f"no reference values: {VECTORS / name} is absent")
    return dict(np.load(VECTORS / name))


@dataclass(frozen=True)
class Inputs:
    student: Tensor
    teacher: Tensor
    labels: Tensor
    weight: Tensor
    covariance: Tensor

    def map(self, function: Callable[[Tensor], Tensor]) -> "Inputs":
        """`function` of every floating tensor."""
        return replace(self, **{name: function(getattr(self, name)) for name in NAMES if name != "labels"})

    def requiring_grad(self, *names: str) -> "Inputs":
        return replace(self, **{name: getattr(self, name).detach().clone().requires_grad_() for name in names})


@dataclass(frozen=True)
class Loss:
    """One loss with its plain form, its bound and the form of covariance it is given."""

    augmented: bool
    over: str
    bound: str = ""
    full: bool = False

    def __str__(self) -> str:
        return "-".join(filter(None, [self.name, self.bound, "full" if self.full else ""]))

    @property
    def name(self) -> str:
        return f"augmented_{self.over}_kd" if self.augmented else f"{self.over}_kd"

    @property
    def function(self) -> Callable[..., Tensor]:
        return getattr(functional, self.name)

    @property
    def differentiable(self) -> tuple[str, ...]:
        return ("student", "weight") if self.augmented else ("student",)

    def arguments(self, inputs: Inputs) -> list[Tensor]:
        return [getattr(inputs, name) for name in (NAMES if self.augmented else NAMES[:2])]

    def __call__(self, inputs: Inputs, *, temperature: float = 2.0, strength: float = 0.8, **changes: str) -> Tensor:
        options = {"strength": strength, "bound": self.bound} if self.augmented else {}
        return self.function(*self.arguments(inputs), temperature=temperature, **{**options, **changes})

    def plain(self, inputs: Inputs, *, temperature: float = 2.0) -> Tensor:
        return getattr(functional, f"{self.over}_kd")(inputs.student, inputs.teacher, temperature=temperature)

    def naive(self, inputs: Inputs, *, temperature: float = 2.0, strength: float = 0.8) -> float:
        options = {"strength": strength, "bound": self.bound} if self.augmented else {}
        arguments = [argument.detach().numpy() for argument in self.arguments(inputs)]
        return getattr(naive, self.name)(*arguments, tau=temperature, **options)

    def inputs(
        self,
        seed: int = 0,
        *,
        batch: int = 2,
        classes: int = 4,
        channels: int = 3,
        size: tuple[int, int] = (2, 3),
        dtype: torch.dtype = torch.float64,
    ) -> Inputs:
        """Random inputs; every fourth or so label is ignored."""
        generator = torch.Generator().manual_seed(seed)

        def normal(*shape: int) -> Tensor:
            return torch.randn(*shape, generator=generator, dtype=torch.float64).to(dtype)

        labels = torch.randint(classes, (batch, *size), generator=generator)
        ignored = torch.rand(batch, *size, generator=generator) < 0.25
        factor = normal(classes, channels, channels)
        return Inputs(
            student=2 * normal(batch, classes, *size),
            teacher=2 * normal(batch, classes, *size),
            labels=labels.masked_fill(ignored, 255),
            weight=normal(classes, channels),
            covariance=factor @ factor.mT if self.full else factor.square().sum(-1),
        )


PLAIN = [Loss(False, over) for over in ("pixel", "channel")]
AUGMENTED = [
    Loss(True, over, bound, full)
    for over in ("pixel", "channel")
    for bound in ("paper", "tight")
    for full in (False, True)
]
LOSSES = PLAIN + AUGMENTED


def every(losses: list[Loss]) -> pytest.MarkDecorator:
    """Run the test once for each loss."""
    return pytest.mark.parametrize("loss", losses, ids=str)
