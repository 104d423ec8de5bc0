"""The list of losses that every common check runs over, and inputs for them."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cache

import numpy as np
import pytest
import torch
from shared import SHARED
from torch import Tensor

from fakd import functional
from fakd.functional import adversarial

from . import naive

VECTORS = SHARED / "vectors"
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

    temperatures = (0.5, 1.0, 4.0)
    refusal, empty = "must have one shape", "the logits are empty: "
    same_channels = True

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


@dataclass(frozen=True)
class OtherLoss:
    """One loss that is no divergence of score maps: of features, of ratings by a critic, or of labels.

    Its student and teacher are such maps or ratings; `weight` is what CIRKD remembers.
    """

    name: str
    call: Callable[[Inputs], Tensor]
    of: str = "features"
    same_channels: bool = False
    """Whether student and teacher must have as many."""
    zero: bool = True
    """Whether it is 0 where the student is the teacher."""
    learns: bool = False
    """Whether it is a critic's, which learns from the teacher too."""

    temperatures = (1.0,)
    refusal, empty = "with the same B, h and w", "student_features must be numbers, got .* "

    def __str__(self) -> str:
        return self.name

    @property
    def differentiable(self) -> tuple[str, ...]:
        return ("student", "teacher") if self.learns else ("student",)

    def __call__(self, inputs: Inputs, *, temperature: float = 1.0) -> Tensor:
        """The loss; it has no such temperature."""
        return self.call(inputs)

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
        """Random inputs; every fourth or so label is ignored, and never all."""
        generator = torch.Generator().manual_seed(seed)

        def normal(*shape: int) -> Tensor:
            return torch.randn(*shape, generator=generator, dtype=torch.float64).to(dtype)

        shapes = {"features": (batch, channels, *size), "logits": (batch, classes, *size), "ratings": (batch + 5,)}
        shape = shapes[self.of]
        other = (batch, channels + 2, *size) if self.of == "features" and not self.same_channels else shape
        labels = torch.randint(classes, (batch, *size), generator=generator)
        labels = labels.masked_fill(torch.rand(batch, *size, generator=generator) < 0.25, 255)
        labels[0, 0] = 0
        memory = torch.nn.functional.normalize(normal(7, channels), dim=1)
        return Inputs(normal(*shape), normal(*other), labels, memory, torch.zeros(1, 1))


def _memory_kd(inputs: Inputs) -> Tensor:
    valid = torch.tensor([True, True, False, True, True, False, True])
    return functional.memory_kd(inputs.student, inputs.teacher, inputs.labels, inputs.weight, valid)


def _of_two(function: Callable[..., Tensor], **options: object) -> Callable[[Inputs], Tensor]:
    return lambda inputs: function(inputs.student, inputs.teacher, **options)


OF_FEATURES = [
    OtherLoss("attention_kd", _of_two(functional.attention_kd)),
    OtherLoss("hint_kd", _of_two(functional.hint_kd), same_channels=True),
    OtherLoss("pairwise_affinity", _of_two(functional.pairwise_affinity, patch=1)),
    OtherLoss(
        "intra_class_kd",
        lambda inputs: functional.intra_class_kd(inputs.student, inputs.teacher, inputs.labels, num_classes=4),
    ),
    OtherLoss("cross_image_kd", _of_two(functional.cross_image_kd)),
    OtherLoss("memory_kd", _memory_kd, same_channels=True),
]
OF_RATINGS = [
    OtherLoss("adversarial_loss", _of_two(adversarial.adversarial_loss), of="ratings"),
    OtherLoss("wasserstein_critic_loss", _of_two(adversarial.wasserstein_critic_loss), of="ratings", learns=True),
    OtherLoss("hinge_critic_loss", _of_two(adversarial.hinge_critic_loss), of="ratings", zero=False, learns=True),
]
CROSS_ENTROPY = OtherLoss(
    "cross_entropy", lambda inputs: functional.cross_entropy(inputs.student, inputs.labels), "logits", zero=False
)
OTHERS = [*OF_FEATURES, *OF_RATINGS, CROSS_ENTROPY]

PLAIN = [Loss(False, over) for over in ("pixel", "channel")]
AUGMENTED = [
    Loss(True, over, bound, full)
    for over in ("pixel", "channel")
    for bound in ("paper", "tight")
    for full in (False, True)
]
LOSSES = PLAIN + AUGMENTED
OF_PAIRS = [*LOSSES, *OF_FEATURES]
"""Those of two maps of the same images."""
EVERY = [*LOSSES, *OTHERS]


def every(losses: Sequence[Loss | OtherLoss]) -> pytest.MarkDecorator:
    """Run the test once for each loss."""
    return pytest.mark.parametrize("loss", losses, ids=str)
