"""What several commands are tested on."""

from report_runs import comparison, page  # noqa: F401  # fixtures, once for all files that use them
