"""The report of finished runs, one HTML page."""
