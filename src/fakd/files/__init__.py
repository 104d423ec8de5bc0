"""Files: written at once, downloaded, verified."""
