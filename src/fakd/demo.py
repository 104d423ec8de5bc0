"""x"""

from dataclasses import dataclass
from typing import Any


@dataclass(kw_only=True)
class DemoConfig:
    """Distil on drawn street scenes and show what came out."""

    seed: int = 0
    """Seed."""


def demo(config: DemoConfig) -> dict[str, Any]:
    return {}
