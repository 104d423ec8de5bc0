"""Faster ways to the same numbers: what the formulas of `fakd.functional` may use, and nobody else."""

from fakd.functional.kernels.channel import channel_divergence
from fakd.functional.kernels.channel_blocks import Maps
from fakd.functional.kernels.pixel import pixel_divergence, pixel_divergence_by_class
from fakd.functional.kernels.rows import ClassRuns, Tile, TileReader, feature_rows, feature_tiles
from fakd.functional.kernels.similarity import CHUNK, similarity_kd

__all__ = [
    "CHUNK",
    "ClassRuns",
    "Maps",
    "Tile",
    "TileReader",
    "channel_divergence",
    "feature_rows",
    "feature_tiles",
    "pixel_divergence",
    "pixel_divergence_by_class",
    "similarity_kd",
]
