"""What weights have and a network lacks, and the other way."""

from collections.abc import Mapping, Sequence

import torch


def mismatches(expected: Mapping[str, torch.Tensor], found: Mapping[str, torch.Tensor]) -> list[str]:
    """Return one line per entry that is missing, unexpected or of another shape."""
    lines = [f"missing: {name} {tuple(tensor.shape)}" for name, tensor in expected.items() if name not in found]
    lines += [f"unexpected: {name} {tuple(tensor.shape)}" for name, tensor in found.items() if name not in expected]
    lines += [
        f"{name}: expected {tuple(tensor.shape)}, found {tuple(found[name].shape)}"
        for name, tensor in expected.items()
        if name in found and found[name].shape != tensor.shape
    ]
    return lines


def listed(lines: Sequence[str], most: int = 20) -> str:
    """Return the lines indented below a message, the first `most` of them and how many more there are."""
    more = [f"... and {len(lines) - most} more"] if len(lines) > most else []
    return "\n  ".join(["", *lines[:most], *more])
