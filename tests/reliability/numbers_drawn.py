"""Every loss, and inputs for all of them: any finite numbers that half precision can hold, in any arrangement.

python tests/reliability/numbers_drawn.py 10000
"""

import argparse
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

import torch
from functional.losses import LOSSES as DISTILLATION
from functional.losses import Inputs
from functional.losses import Loss as Distillation
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from torch import Tensor

from fakd import functional
from fakd.functional import adversarial

LARGEST = 65504.0
"""The largest float16, in which networks under 16-mixed precision compute."""
SPECIAL = torch.tensor([0.0, -0.0, 1.0, -1.0, 1e-4, 1e-38, 1e-45, 100.0, LARGEST, -LARGEST])


@dataclass(frozen=True)
class Scene:
    """What losses are computed from, in float32."""

    inputs: Inputs
    full: Tensor
    """(C, A, A) covariance."""
    features: Tensor
    """(B, A, h, w) of the student."""
    taught: Tensor
    """Of the teacher, with as many channels."""
    memory: Tensor
    """(C, K, A) of unit length or 0."""
    valid: Tensor
    """(C, K) which of these count."""
    temperature: float
    strength: float


# Values: magnitude and arrangement are drawn by hypothesis, the numbers by PyTorch, which is a hundred times faster.


def _values(shape: tuple[int, ...], kind: str, scale: float, generator: torch.Generator) -> Tensor:
    match kind:
        case "normal":
            numbers = scale * torch.randn(shape, generator=generator)
        case "special":
            numbers = SPECIAL[torch.randint(len(SPECIAL), shape, generator=generator)]
        case "constant":
            numbers = torch.full(shape, scale)
        case "few":  # as ReLU leaves them
            numbers = scale * torch.randn(shape, generator=generator) * (torch.rand(shape, generator=generator) < 0.1)
        case _:
            raise ValueError(kind)
    return numbers.clamp(-LARGEST, LARGEST)


_KINDS = st.tuples(
    st.sampled_from(["normal", "special", "constant", "few"]),
    st.sampled_from([0.0, 1e-38, 1e-20, 1e-4, 1.0, 30.0, 1e3, LARGEST]),
)


@st.composite
def scenes(draw: st.DrawFn) -> Scene:
    """Draw one, small, down to a single class, channel, image and pixel."""
    batch, classes, channels, height, width = (draw(st.integers(1, most)) for most in (2, 4, 4, 3, 3))
    generator = torch.Generator().manual_seed(draw(st.integers(0, 2**32)))
    values = partial(_values, generator=generator)
    size = (height, width)
    labels = torch.randint(classes, (batch, *size), generator=generator)
    ignored = torch.rand(batch, *size, generator=generator) < draw(st.sampled_from([0.0, 0.3, 1.0]))
    factor = values((classes, channels, channels), *draw(_KINDS)).clamp(-1e4, 1e4)
    memory = torch.nn.functional.normalize(values((classes, 2, channels), *draw(_KINDS)), dim=2)
    logits, maps = (batch, classes, *size), (batch, channels, *size)
    student, taught = values(maps, *draw(_KINDS)), values(maps, *draw(_KINDS))
    return Scene(
        inputs=Inputs(
            student=values(logits, *draw(_KINDS)),
            teacher=values(logits, *draw(_KINDS)),
            labels=labels.masked_fill(ignored, 255),
            weight=values((classes, channels), *draw(_KINDS)).clamp(-100, 100),
            covariance=factor.square().sum(2),
        ),
        full=factor @ factor.mT,
        features=student,
        taught=student.clone() if draw(st.booleans()) else taught,
        memory=memory,
        valid=torch.rand(classes, 2, generator=generator) < draw(st.sampled_from([0.0, 0.5, 1.0])),
        temperature=draw(st.sampled_from([0.1, 0.5, 1.0, 4.0])),
        strength=draw(st.sampled_from([0.0, 0.01, 1.0, 50.0])),
    )


# Losses: of a scene, the value, and what it is differentiated by.

Graph = tuple[Tensor, list[Tensor]]


def _distillation(loss: Distillation, scene: Scene) -> Graph:
    inputs = scene.inputs
    if loss.full:
        inputs = Inputs(inputs.student, inputs.teacher, inputs.labels, inputs.weight, scene.full)
    inputs = inputs.requiring_grad(*loss.differentiable)
    value = loss(inputs, temperature=scene.temperature, strength=scene.strength)
    return value, [getattr(inputs, name) for name in loss.differentiable]


def _of_features(loss: Callable[[Tensor, Scene], Tensor], scene: Scene) -> Graph:
    features = scene.features.clone().requires_grad_()
    return loss(features, scene), [features]


def _of_ratings(loss: Callable[[Tensor, Tensor], Tensor], scene: Scene) -> Graph:
    ours, theirs = (maps.mean((1, 2, 3)).requires_grad_() for maps in (scene.features, scene.taught))
    return loss(ours, theirs), [ours]


def _penalty(scene: Scene) -> Graph:
    weight = scene.inputs.weight[0].clone().requires_grad_()
    shares = torch.rand(len(scene.features))
    critic = lambda maps: (maps.tanh() * weight[:, None, None]).sum((1, 2, 3))  # noqa: E731
    return adversarial.gradient_penalty(critic, scene.features, scene.taught, shares), [weight]


def _cross_entropy(average: str, scene: Scene) -> Graph:
    logits = scene.inputs.student.clone().requires_grad_()
    labels = scene.inputs.labels.repeat_interleave(2, 1).repeat_interleave(2, 2)
    return functional.cross_entropy(logits, labels, average=average), [logits]  # type: ignore[arg-type]


_FEATURES: Mapping[str, Callable[[Tensor, Scene], Tensor]] = {
    "attention_kd": lambda f, scene: functional.attention_kd(f, scene.taught),
    "hint_kd": lambda f, scene: functional.hint_kd(f, scene.taught),
    "channel_kd of features": lambda f, scene: functional.channel_kd(f, scene.taught, temperature=scene.temperature),
    "pairwise_affinity": lambda f, scene: functional.pairwise_affinity(f, scene.taught),
    "pairwise_affinity, maximum": lambda f, scene: functional.pairwise_affinity(f, scene.taught, pooling="max"),
    "intra_class_kd": lambda f, scene: functional.intra_class_kd(
        f, scene.taught, scene.inputs.labels, num_classes=len(scene.inputs.weight)
    ),
    "cross_image_kd": lambda f, scene: functional.cross_image_kd(f, scene.taught, temperature=scene.temperature),
    "memory_kd": lambda f, scene: functional.memory_kd(
        f,
        scene.taught,
        scene.inputs.labels,
        scene.memory.flatten(0, 1),
        scene.valid.flatten(),
        temperature=scene.temperature,
    ),
}
LOSSES: Mapping[str, Callable[[Scene], Graph]] = {
    **{str(loss): partial(_distillation, loss) for loss in DISTILLATION},
    **{name: partial(_of_features, loss) for name, loss in _FEATURES.items()},
    "adversarial_loss": partial(_of_ratings, adversarial.adversarial_loss),
    "hinge_critic_loss": partial(_of_ratings, adversarial.hinge_critic_loss),
    "wasserstein_critic_loss": partial(_of_ratings, adversarial.wasserstein_critic_loss),
    "gradient_penalty": _penalty,
    "cross_entropy": partial(_cross_entropy, "valid"),
    "cross_entropy, all": partial(_cross_entropy, "all"),
}


def wrong(name: str, scene: Scene) -> str | None:
    """What is not finite of a loss and its gradients."""
    value, tensors = LOSSES[name](scene)
    if not bool(value.isfinite()):
        return f"{name} is {value.item()}"
    gradients = torch.autograd.grad(value, tensors, allow_unused=True) if value.requires_grad else []
    if any(gradient is not None and not bool(gradient.isfinite().all()) for gradient in gradients):
        return f"a gradient of {name} is not finite"
    return None


def check(examples: int) -> None:
    """Draw so many scenes, and compute every loss on each; the first fault is shrunk and raised."""

    @settings(
        max_examples=examples, deadline=None, database=None, derandomize=True, suppress_health_check=list(HealthCheck)
    )
    @given(scenes())
    def every_loss_is_finite(scene: Scene) -> None:
        faults = [fault for name in LOSSES if (fault := wrong(name, scene))]
        if faults:
            raise AssertionError("; ".join(faults))

    every_loss_is_finite()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("scenes", type=int)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    started = time.process_time()
    check(arguments.scenes)
    print(f"{len(LOSSES)} losses on {arguments.scenes} inputs: finite, in {time.process_time() - started:.0f} s of CPU")
