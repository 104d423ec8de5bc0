"""How far the bounds lie above the expected loss: the figure and the table of docs/method.md.

    python docs/figures/bounds.py

Random features, classifier, covariances and teacher; the expectation is a mean over drawn perturbations, the bounds are
the package's own losses. Everything in float64.
"""

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import matplotlib
import torch
from torch import Tensor

from fakd.functional import augmented_channel_kd, augmented_pixel_kd, channel_kd, pixel_kd

matplotlib.use("svg")
import matplotlib.pyplot as plt

CLASSES, CHANNELS, SIDE = 4, 8, 10
STRENGTHS = (0.25, 0.5, 1.0, 1.5, 2.0, 2.5)
COLOURS = {"expected": "#111111", "tight": "#0072b2", "paper": "#d55e00"}
Loss = Callable[..., Tensor]


class Scene(NamedTuple):
    """A student's features at every position of one image, and what is needed to perturb and to teach it."""

    features: Tensor
    """(1, A, h, w)."""
    weight: Tensor
    """(C, A)."""
    covariance: Tensor
    """(C, A, A)."""
    labels: Tensor
    """(1, h, w)."""
    teacher: Tensor
    """(1, C, h, w)."""

    def logits(self, features: Tensor) -> Tensor:
        """Scores (B, C, h, w) of features (B, A, h, w)."""
        return torch.einsum("ca,bahw->bchw", self.weight, features)


def draw_scene(seed: int = 0) -> Scene:
    """Random features and classifier; the teacher is the student, disturbed."""
    generator = torch.Generator().manual_seed(seed)

    def normal(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=generator, dtype=torch.float64)

    features, weight = normal(1, CHANNELS, SIDE, SIDE), normal(CLASSES, CHANNELS) / CHANNELS**0.5
    # The classes' features vary very differently, as frequent and rare ones do.
    roots = normal(CLASSES, CHANNELS, CHANNELS) / CHANNELS**0.5 * torch.tensor([0.3, 0.7, 1.1, 1.6])[:, None, None]
    labels = torch.randint(CLASSES, (1, SIDE, SIDE), generator=generator)
    teacher = torch.einsum("ca,bahw->bchw", weight, features) + 0.7 * normal(1, CLASSES, SIDE, SIDE)
    return Scene(features, weight, roots @ roots.mT, labels, teacher)


def expected(scene: Scene, loss: Loss, strength: float, temperature: float, samples: int) -> tuple[float, float]:
    """Mean of the plain loss over drawn perturbations of the features, and its standard error."""
    generator = torch.Generator().manual_seed(1)
    roots = torch.linalg.cholesky(scene.covariance + 1e-12 * torch.eye(CHANNELS))[scene.labels]  # (1, h, w, A, A)
    values = []
    for _ in range(samples):
        noise = torch.randn(1, SIDE, SIDE, CHANNELS, 1, generator=generator, dtype=torch.float64)
        moved = scene.features + strength**0.5 * (roots @ noise).squeeze(-1).permute(0, 3, 1, 2)
        values.append(loss(scene.logits(moved), scene.teacher, temperature=temperature))
    drawn = torch.stack(values)
    return drawn.mean().item(), drawn.std().item() / samples**0.5


def bound(scene: Scene, loss: Loss, strength: float, temperature: float, kind: str) -> float:
    """One of the closed forms that the package minimises."""
    return loss(
        scene.logits(scene.features),
        scene.teacher,
        scene.labels,
        scene.weight,
        scene.covariance,
        strength=strength,
        temperature=temperature,
        bound=kind,
    ).item()


PANELS = {
    "channel-wise, τ = 4": (channel_kd, augmented_channel_kd, 4.0),
    "channel-wise, τ = 1": (channel_kd, augmented_channel_kd, 1.0),
    "pixel-wise, τ = 1": (pixel_kd, augmented_pixel_kd, 1.0),
}
"""Title -> plain loss, augmented loss, temperature."""


def curves(title: str, samples: int, strengths: tuple[float, ...] = STRENGTHS) -> list[tuple[float, ...]]:
    """Rows of strength, expected loss, its standard error, tight bound, paper's bound."""
    plain, augmented, temperature = PANELS[title]
    scene = draw_scene()
    return [
        (
            strength,
            *expected(scene, plain, strength, temperature, samples),
            *(bound(scene, augmented, strength, temperature, kind) for kind in ("tight", "paper")),
        )
        for strength in strengths
    ]


def draw(found: dict[str, list[tuple[float, ...]]], path: Path) -> None:
    """The figure, a panel for each loss."""
    matplotlib.rcParams["svg.hashsalt"] = "fakd"  # the same file for the same numbers
    figure, axes = plt.subplots(1, len(found), figsize=(11, 3.4), layout="constrained")
    for axis, (title, rows) in zip(axes, found.items(), strict=True):
        strengths, mean, _, tight, paper = zip(*rows, strict=True)
        axis.plot(strengths, paper, "s--", color=COLOURS["paper"], label='bound="paper"', markersize=4)
        axis.plot(strengths, tight, "^-", color=COLOURS["tight"], label='bound="tight"', markersize=4)
        axis.plot(strengths, mean, "o-", color=COLOURS["expected"], label="expected loss, sampled", markersize=4)
        axis.set(title=title, xlabel="strength λ", ylim=(0, None))
        axis.spines[["top", "right"]].set_visible(False)
    axes[0].set_ylabel("loss (nats)")
    axes[0].legend(frameon=False)
    figure.savefig(path, metadata={"Date": None})
    plt.close(figure)


def table(found: dict[str, list[tuple[float, ...]]]) -> str:
    """The numbers as Markdown."""
    lines = ["| loss | strength | expected, sampled | tight | paper |", "| --- | ---: | ---: | ---: | ---: |"]
    for title, rows in found.items():
        for strength, mean, error, tight, paper in rows:
            if strength in (0.5, 1.0, 2.5):
                lines.append(f"| {title} | {strength} | {mean:.4f} ± {error:.4f} | {tight:.4f} | {paper:.4f} |")
    return "\n".join(lines)


def main() -> None:
    """Draw the figure and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--samples", type=int, default=2000, help="perturbations that are drawn for each point")
    parser.add_argument("--output", type=Path, default=Path(__file__).parents[1] / "images/bounds.svg")
    arguments = parser.parse_args()
    found = {title: curves(title, arguments.samples) for title in PANELS}
    draw(found, arguments.output)
    print(table(found))


if __name__ == "__main__":
    main()
