"""Where real data and reference values lie that are not ours to give away: beside the clone."""

from pathlib import Path

SHARED = Path(__file__).resolve().parents[2] / "shared"
