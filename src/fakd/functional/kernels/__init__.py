"""Faster ways to the same numbers: what the formulas of `fakd.functional` may use, and nobody else."""

from fakd.functional.kernels.rows import ClassRuns, Tile, TileReader, feature_rows, feature_tiles
from fakd.functional.kernels.similarity import CHUNK, similarity_kd

__all__ = [
    "CHUNK",
    "ClassRuns",
    "Tile",
    "TileReader",
    "feature_rows",
    "feature_tiles",
    "similarity_kd",
]
