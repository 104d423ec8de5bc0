"""`fakd report`: finished runs as one page that opens from disk, with nothing loaded from anywhere."""

from fakd.analysis.report.command import ReportConfig, report

__all__ = ["ReportConfig", "report"]
