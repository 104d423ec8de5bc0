"""Trained networks for other programs, and what they cost there."""

from fakd.export.benchmarking import BenchmarkConfig, benchmark
from fakd.export.command import ExportConfig, export

__all__ = ["BenchmarkConfig", "ExportConfig", "benchmark", "export"]
