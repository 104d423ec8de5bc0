"""Whether an exported file says what the network says, tried at once at several sizes."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from rich.table import Column, Table
from torch import Tensor

from fakd.console import console
from fakd.export.onnx_graph import Deployed
from fakd.models.onnx import OnnxNetwork

SIZES = ((64, 96), (65, 97), (127, 61), (200, 136))
"""Height and width in pixels of the images that are tried: one that every stride divides, and three that none does."""
BATCHES = (2, 1, 1, 1)
MULTIPLE = 32
"""What the sides are rounded up to for a network that takes no others."""
LIMIT = 1e-4
"""The largest error that is let through, relative to the largest score of the image."""


@dataclass(frozen=True)
class Check:
    """One size that was tried."""

    size: tuple[int, int]
    """(height, width) of the images in pixels."""
    batch: int
    """Images at once."""
    error: float
    """The largest difference of scores, relative to the largest score. Where the file gives labels: by how much the
    score of its class is below the highest at worst, relative to the largest score."""
    differing: float | None
    """Share of pixels with another label, where the file gives labels."""


def check_graph(deployed: Deployed, path: Path) -> list[Check]:
    """Run a file with onnxruntime and the network with PyTorch on the same random images.

    Args:
        deployed: what was exported, in eval mode on the CPU.
        path: the ONNX file.

    Returns:
        One result for each of `SIZES`; a network that cannot take one of them is asked about multiples of 32.
    """
    exported = OnnxNetwork(path)
    generator = torch.Generator().manual_seed(1)
    checks = []
    with torch.no_grad():
        for size, batch in zip(_sizes_for(deployed), BATCHES, strict=True):
            images = torch.rand(batch, deployed.in_channels, *size, generator=generator)
            scores = deployed.scores(images)
            checks.append(Check(size, batch, *_compare(scores, _answer(exported, images), exported.gives_labels)))
    return checks


def require_equal(checks: Sequence[Check], name: object) -> None:
    """Refuse a file that says something else than the network.

    Raises:
        ValueError: an error is above `LIMIT`, or not a number.
    """
    if wrong := [check for check in checks if not check.error <= LIMIT]:
        sizes = ", ".join(f"{check.error:.1e} at {check.size[0]}x{check.size[1]}" for check in wrong)
        raise ValueError(
            f"{name} is not written: as ONNX the network gives other scores than in PyTorch ({sizes}; at most "
            f"{LIMIT:.0e} of the largest score is rounding). Another --exporter or --opset may do better."
        )


def print_checks(checks: Sequence[Check]) -> None:
    """Print a table of the errors."""
    names = ["image", "batch", "error", *["other labels"] * (checks[0].differing is not None)]
    table = Table(*(Column(name, justify="right") for name in names), title="onnxruntime beside PyTorch")
    for check in checks:
        differing = [] if check.differing is None else [f"{100 * check.differing:.3f} %"]
        table.add_row(f"{check.size[0]}x{check.size[1]}", str(check.batch), f"{check.error:.1e}", *differing)
    console.print(table)


def _sizes_for(deployed: Deployed) -> Sequence[tuple[int, int]]:
    try:
        deployed(torch.zeros(1, deployed.in_channels, *SIZES[1]))
    except (RuntimeError, ValueError, AssertionError):  # how networks refuse sides that their strides do not divide
        return [(_rounded_up(height), _rounded_up(width)) for height, width in SIZES]
    return SIZES


def _rounded_up(side: int) -> int:
    return -(-side // MULTIPLE) * MULTIPLE


def _answer(exported: OnnxNetwork, images: Tensor) -> Tensor | None:
    try:
        return exported.answer(images)
    except Exception:  # what a graph raises for sizes that it was not made for is onnxruntime's own
        return None


def _compare(scores: Tensor, answer: Tensor | None, labels: bool) -> tuple[float, float | None]:
    expected_shape = scores[:, 0].shape if labels else scores.shape
    if answer is None or answer.shape != expected_shape:
        return float("inf"), 1.0 if labels else None
    if not labels:
        return ((answer - scores).abs().max() / scores.abs().max()).item(), None
    best, expected = scores.max(1)
    missed = best - scores.gather(1, answer.long().unsqueeze(1)).squeeze(1)
    return (missed.max() / scores.abs().max()).item(), (expected != answer).float().mean().item()
